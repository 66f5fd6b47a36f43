/** Says where a source comes from: by git, and by the event of GitHub Actions if the event is about it. */
import { readFileSync } from 'node:fs';
import type { Origin } from '#contract';
import type { Source } from '../../client/packing/list-source.ts';
import { gitOrigin } from './git-origin.ts';
import { githubOrigin } from './github-origin.ts';

/**
 * A job may check out another commit than that of its event. Then only the address of the run is taken from
 * the event. Without git, this cannot be detected.
 */
export async function originOf(source: Source, signal: AbortSignal): Promise<Origin | null> {
  const byGit = await gitOrigin(source, signal);
  const byEvent = githubOrigin(process.env, (path) => readFileSync(path, 'utf8'));
  if (byEvent === null || byGit === null) return byEvent ?? byGit?.origin ?? null;
  const { origin, parents } = byGit;
  const { commit, pullRequest, url } = byEvent;
  if (origin.commit === undefined) return byEvent;
  if (origin.commit === commit) return { ...origin, ...byEvent };
  // GitHub makes a merge of each pull request, and a job checks that out.
  const isItsMerge = pullRequest !== undefined && parents.length > 1 && parents.includes(commit!);
  return isItsMerge ? byEvent : { ...origin, ...(url !== undefined && { url }) };
}
