/** Finds the project of a build that names none. */
import { Me } from '#contract';
import { valueOrThrow } from '../../client/answer.ts';
import type { Connection } from '../../client/request.ts';
import { type RetryOptions, untilAnswered } from '../../client/retry.ts';
import { CommandError } from '../command-error.ts';

const GIVE_UP_AFTER_MS = 120_000;

/** The only one that the key reaches. Undefined: it reaches all, and the controller's default counts. */
export async function onlyProject(
  connection: Connection,
  patience: Pick<RetryOptions, 'signal' | 'onUnreachable'>,
): Promise<string | undefined> {
  const ask = () => connection.call({ method: 'GET', path: '/api/me', answer: Me, signal: patience.signal });
  const me = valueOrThrow(await untilAnswered(ask, { ...patience, giveUpAfterMs: GIVE_UP_AFTER_MS }), 'GET /api/me');
  const projects = me.rights?.projects ?? '*';
  if (projects === '*') return undefined;
  const [only, ...others] = projects;
  if (others.length > 0)
    throw new CommandError(
      'This key reaches several projects. Name one with `--project`, or as `project` in expo-build.json.',
    );
  return only;
}
