/**
 * Makes the variables that tell a build where its source comes from. Pure.
 *
 * The values come from the submitter, so they may hold any line of text. Code that makes shell text of them
 * must quote them.
 */
import type { Assignment } from '#contract';

export function originVariables({ origin }: Pick<Assignment, 'origin'>): Record<string, string> {
  if (!origin) return {};
  const { repository, commit, branch, tag, commitCount, dirty } = origin;
  const told: Record<string, string | undefined> = {
    TARTBEAT_GIT_REPOSITORY: repository,
    TARTBEAT_GIT_COMMIT: commit,
    TARTBEAT_GIT_BRANCH: branch,
    TARTBEAT_GIT_TAG: tag,
    TARTBEAT_GIT_COMMIT_COUNT: commitCount?.toString(),
    TARTBEAT_GIT_DIRTY: dirty === undefined ? undefined : dirty ? '1' : '0',
    EAS_BUILD_GIT_COMMIT_HASH: commit,
    SENTRY_RELEASE: commit,
  };
  return Object.fromEntries(Object.entries(told).filter((one): one is [string, string] => one[1] !== undefined));
}
