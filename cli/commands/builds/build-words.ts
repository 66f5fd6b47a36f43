/** Says in words what a build is and how far it is. The words are not made printable yet. Pure. */
import type { Build, Live, Origin } from '#contract';
import { duration } from '../../words.ts';

/** Such as `building, 41 %` or `failed (no_output)`. */
export function statusOf({ status, verdict, supersededBy }: Build, live: Live | null = null): string {
  if (supersededBy !== null) return `${status} (superseded)`;
  if (status === 'failed' && verdict) return `${status} (${verdict.code})`;
  if (status !== 'building' || !live) return status;
  const { phase, progress } = live;
  return [status, phase ?? live.stage, progress && `${progress.percent} %`].filter(Boolean).join(', ');
}

/** The profile or the command of the build. */
export const madeBy = ({ profile, command }: Build): string => profile ?? command ?? '';

/** Such as `1.4.0 (42)`. */
export function versionOf({ app, buildNumber }: Build): string {
  const number = buildNumber === null ? '' : `(${buildNumber})`;
  return [app?.version, number].filter(Boolean).join(' ');
}

/** How long it has taken so far, or took. Null while it waits. */
export function timeOf({ startedAt, endedAt }: Build, now: number): string | null {
  if (startedAt === null) return null;
  return duration((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt));
}

export const commitOf = ({ commit, dirty }: Origin): string | null =>
  commit === undefined ? null : `${commit.slice(0, 10)}${dirty ? ' with uncommitted changes' : ''}`;

export const placeOf = ({ branch, tag, pullRequest }: Origin): string =>
  [branch, tag && `tag ${tag}`, pullRequest && `pull request ${pullRequest}`].filter(Boolean).join(', ');

export const titleOf = ({ message }: Origin): string => message?.split('\n')[0] ?? '';
