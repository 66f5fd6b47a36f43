/**
 * Finds the project that a request names, for the key that asks. A key of all projects makes it at first use.
 */
import { sourceNotStored, touchHold } from '../files/holds.ts';
import {
  DEFAULT_PROJECT_ID,
  findProject,
  MADE_A_DAY_MAX,
  makeProject,
  noProject,
  type ProjectRow,
} from '../projects/find-project.ts';
import { type Refusal, refusal } from '../refusals.ts';
import type { AuthenticatedKey } from './keys.ts';
import { may } from './rights.ts';

/**
 * The project for a build from this source. Refused: `not_found` also for a project that the key does not
 * reach; `invalid_request`, `too_many`. A build that would be refused for its source makes no project.
 */
export async function projectOf(
  env: Env,
  named: string | undefined,
  key: AuthenticatedKey,
  sourceSha256: string,
  now: number,
): Promise<{ ok: true; project: ProjectRow } | Refusal> {
  const idOrName = named ?? DEFAULT_PROJECT_ID;
  const project = await findProject(env, idOrName);
  if (project && may(key, 'builds.submit', { projectId: project.id })) return { ok: true, project };
  if (project || key.rights.projects !== '*' || !key.rights.trusted)
    return named === undefined ? noneNamed : noProject(idOrName);
  if (!(await touchHold(env, key.rootId, sourceSha256, now))) return sourceNotStored(sourceSha256);
  return makeProject(env, idOrName, key.rootId, key.scope === 'admin' ? Number.MAX_SAFE_INTEGER : MADE_A_DAY_MAX, now);
}

const noneNamed = refusal(
  'not_found',
  'project: name one. A build that names none belongs to the project default, which this key does not reach. ' +
    '`GET /api/projects` lists those that it reaches',
);
