/** Reads the event that a job of GitHub Actions runs for. A field that it cannot read counts as absent. */
import { z } from 'zod';

/** Fields that GitHub may leave out, or that another server writes in another form. */
const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const text = maybe(z.string());

const repository = maybe(z.object({ full_name: text }));
const commit = maybe(z.object({ message: text, author: maybe(z.object({ name: text })) }));

const GithubEvent = z.object({
  /** Of a push. */
  head_commit: commit,
  /** Of `pull_request`, of `pull_request_target` and of reviews. */
  pull_request: maybe(
    z.object({
      number: maybe(z.number()),
      title: text,
      user: maybe(z.object({ login: text })),
      head: maybe(z.object({ sha: text, ref: text, repo: repository })),
    }),
  ),
  merge_group: maybe(z.object({ head_sha: text, head_ref: text, head_commit: commit })),
  workflow_run: maybe(
    z.object({ head_sha: text, head_branch: text, head_repository: repository, head_commit: commit }),
  ),
});
export type GithubEvent = z.infer<typeof GithubEvent>;

export type Environment = Readonly<Record<string, string | undefined>>;
export type ReadFile = (path: string) => string;

/** Null: this is no job of GitHub Actions. */
export function githubEvent(env: Environment, readFile: ReadFile): GithubEvent | null {
  if (env.GITHUB_ACTIONS !== 'true') return null;
  try {
    return GithubEvent.parse(JSON.parse(readFile(env.GITHUB_EVENT_PATH ?? '')));
  } catch {
    return {};
  }
}

/** Only a person who may write to the repository, or a rule of the repository, starts a job of these. */
const STARTED_BY_OWNERS: ReadonlySet<string> = new Set([
  ...['push', 'merge_group', 'schedule', 'create', 'release', 'deployment'],
  ...['workflow_dispatch', 'repository_dispatch'],
]);

/**
 * Whether a stranger may have written the source of the job: the author of a fork, or somebody who started
 * the job by a comment or an issue. The events of such jobs do not name the source that the job checks out.
 */
export function isFromStranger(env: Environment, readFile: ReadFile): boolean {
  if (env.GITHUB_ACTIONS !== 'true') return false;
  const name = env.GITHUB_EVENT_NAME ?? '';
  return isAboutSource(name) ? isOfFork(env, readFile) : !STARTED_BY_OWNERS.has(name);
}

/**
 * Whether the event is about the source of another repository, which GitHub calls a fork. Its author is a
 * stranger. If the event cannot be read, or if the fork was deleted, the answer is yes.
 */
export function isOfFork(env: Environment, readFile: ReadFile): boolean {
  const event = githubEvent(env, readFile);
  if (!event) return false;
  const name = env.GITHUB_EVENT_NAME ?? '';
  if (!isAboutSource(name)) return false;
  const isHere = (from: { full_name?: string | undefined } | undefined) =>
    from?.full_name !== undefined && from.full_name.toLowerCase() === env.GITHUB_REPOSITORY?.toLowerCase();
  return !isHere(name === 'workflow_run' ? event.workflow_run?.head_repository : event.pull_request?.head?.repo);
}

/** Its payload names the repository that the source comes from. */
const isAboutSource = (name: string) => name.startsWith('pull_request') || name === 'workflow_run';
