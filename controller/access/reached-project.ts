/**
 * Finds the project that a request names, for the key that asks. A trusted key of all projects makes the
 * project at its first use.
 */
import type { BuildRequest } from '#contract';
import { sourceNotStored, touchHold } from '../files/holds.ts';
import { canBeFirst, notSeeded } from '../projects/build-numbers.ts';
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
 * The project for the build that is requested. Refused: `not_found` also for a project that the key does not
 * reach; `invalid_request`, `too_many`. No project is made for a build that would be refused because its
 * source is not stored, or because a new project has no build number for its app.
 */
export async function projectOf(
  env: Env,
  { project: named, source, platform, app }: Pick<BuildRequest, 'project' | 'source' | 'platform' | 'app'>,
  key: AuthenticatedKey,
  now: number,
): Promise<{ ok: true; project: ProjectRow } | Refusal> {
  const idOrName = named ?? DEFAULT_PROJECT_ID;
  const project = await findProject(env, idOrName);
  if (project && may(key, 'builds.submit', { projectId: project.id })) return { ok: true, project };
  if (project || key.rights.projects !== '*' || !key.rights.trusted)
    return named === undefined ? noneNamed : noProject(idOrName);
  if (app && !canBeFirst(app.buildNumber ?? 0)) {
    const { code, message } = notSeeded({ project: idOrName, platform, appId: app.id });
    return refusal(code, `${message}. There is no project ${idOrName} yet: make it first, \`POST /api/projects\``);
  }
  if (!(await touchHold(env, key.rootId, source.sha256, now))) return sourceNotStored(source.sha256);
  return makeProject(env, idOrName, key.rootId, key.scope === 'admin' ? Number.MAX_SAFE_INTEGER : MADE_A_DAY_MAX, now);
}

const noneNamed = refusal(
  'not_found',
  'project: name one. A build that names none belongs to the project default, which this key does not reach. ' +
    '`GET /api/projects` lists those that it reaches',
);
