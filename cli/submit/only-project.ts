/** Finds the project of a build that names none, and says whether a named project exists. */
import { z } from 'zod';
import { Me } from '#contract';
import { valueOrThrow } from '../../client/answer.ts';
import { GIVE_UP_AFTER_MS } from '../../client/builds-client.ts';
import type { Connection } from '../../client/request.ts';
import { type RetryOptions, untilAnswered } from '../../client/retry.ts';
import { CommandError } from '../command-error.ts';

const Projects = z.object({ projects: z.array(z.object({ name: z.string(), id: z.string() })) });

/**
 * The only project that the key reaches. Undefined: it reaches all, and the default of the controller counts.
 */
export async function onlyProject(
  connection: Connection,
  patience: Pick<RetryOptions, 'signal' | 'onUnreachable'>,
): Promise<string | undefined> {
  const ask = () => connection.call({ method: 'GET', path: '/api/me', answer: Me, signal: patience.signal });
  const me = valueOrThrow(await untilAnswered(ask, { ...patience, giveUpAfterMs: GIVE_UP_AFTER_MS }), 'GET /api/me');
  return onlyProjectOf(me);
}

/** The same, from an answer of the controller. */
export function onlyProjectOf({ rights }: Me): string | undefined {
  const projects = rights?.projects ?? '*';
  if (projects === '*') return undefined;
  const [only, ...others] = projects;
  if (others.length > 0)
    throw new CommandError(
      'This key reaches several projects. Name one with `--project`, or as `project` in expo-build.json.',
    );
  return only;
}

/** A key of all projects makes a project at its first build, also one whose name is misspelt. */
export async function isThere(
  connection: Connection,
  project: string,
  patience: Pick<RetryOptions, 'signal' | 'onUnreachable'>,
): Promise<boolean> {
  const ask = () =>
    connection.call({ method: 'GET', path: '/api/projects', answer: Projects, signal: patience.signal });
  const all = await untilAnswered(ask, { ...patience, giveUpAfterMs: GIVE_UP_AFTER_MS });
  // A refusal here does not stop the build, because the controller also answers the request for the build.
  return !all.ok || all.value.projects.some(({ name, id }) => name === project || id === project);
}
