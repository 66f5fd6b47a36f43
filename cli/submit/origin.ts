/** Says where a source comes from: by the event of GitHub Actions, else by git. */
import { readFileSync } from 'node:fs';
import type { Origin } from '#contract';
import type { Source } from '../../client/packing/list-source.ts';
import { gitOrigin } from './git-origin.ts';
import { githubOrigin } from './github-origin.ts';

/** The checkout of a pull request is a commit of GitHub's own, so git counts only for the same commit. */
export async function originOf(source: Source, signal: AbortSignal): Promise<Origin | null> {
  const byGit = await gitOrigin(source, signal);
  const byEvent = githubOrigin(process.env, (path) => readFileSync(path, 'utf8'));
  if (byEvent === null) return byGit;
  return byGit?.commit !== undefined && byGit.commit === byEvent.commit ? { ...byGit, ...byEvent } : byEvent;
}
