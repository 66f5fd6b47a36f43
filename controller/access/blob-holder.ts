/** Decides for whom a key uploads files, and so who may name them later. */
import type { Holder } from '../files/holds.ts';
import { findProject, noProject } from '../projects/find-project.ts';
import type { Refusal } from '../refusals.ts';
import type { AuthenticatedKey } from './keys.ts';
import { may } from './rights.ts';

/**
 * A worker uploads for itself. Another key uploads for the project that the request names, else for the one
 * project that it reaches, else for the lineage of the key. An untrusted key always uploads for its lineage,
 * so that it never shares the files of its project. Refused: `not_found`, also for a project that the key
 * does not reach.
 */
export async function holderOfKey(
  env: Env,
  key: AuthenticatedKey,
  named: string | undefined,
): Promise<{ ok: true; holder: Holder } | Refusal> {
  if (key.workerId !== null) return { ok: true, holder: key.workerId };
  const { projects, trusted } = key.rights;
  if (named !== undefined) {
    const project = await findProject(env, named);
    if (!project || !may(key, 'builds.submit', { projectId: project.id })) return noProject(named);
    return { ok: true, holder: trusted ? project.id : key.rootId };
  }
  const [only, ...others] = projects === '*' ? [] : projects;
  return { ok: true, holder: trusted && only !== undefined && others.length === 0 ? only : key.rootId };
}
