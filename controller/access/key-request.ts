/**
 * Makes a key as a request asks for it, or says which fields ask for too much.
 *
 * Invariant: the admin of projects makes only keys that it may manage (rights.ts). It gets the same answer
 * for a project of others as for one that does not exist.
 */
import type { Grant, KeyRequest, KeyView, Rights } from '#contract';
import { DEFAULT_PROJECT_ID, findProjects } from '../projects/find-project.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { iso } from '../times.ts';
import { type AuthenticatedKey, createKeyIfLive } from './keys.ts';
import { excess, mayManage, NAMED_ALONE, NOT_OF_DEFAULT, rightsAskedFor } from './rights.ts';

/** Refused: `invalid_request`, `forbidden`, `project_deleted`. */
export async function makeRequestedKey(
  env: Env,
  by: AuthenticatedKey,
  { name, scope, expiresAt, ...asked }: KeyRequest,
  now: number,
): Promise<{ ok: true; key: KeyView; secret: string } | Refusal> {
  const expiresAtMs = expiresAt === undefined ? null : Date.parse(expiresAt);
  if (expiresAtMs !== null && expiresAtMs <= now) return refusal('invalid_request', 'expiresAt: must be in the future');
  // Otherwise an admin of projects whose key expires would make itself one that does not.
  const untilMs = by.scope === 'admin' ? null : by.expiresAt;
  if (untilMs !== null && expiresAtMs !== null && expiresAtMs > untilMs)
    return refusal('forbidden', `expiresAt: must not be after the end of your own key, ${iso(untilMs)}`);
  const wanted = rightsAskedFor(asked, scope);
  const { projects, unknown } = await idsOf(env, wanted.projects);
  const rights = { ...wanted, projects };
  if (!mayManage(by, { scope, rights })) return refusal('forbidden', tooMuch(by.rights, scope, rights));
  if (unknown.length > 0) return refusal('invalid_request', `projects: there is no project ${unknown.join(', ')}`);
  const contradiction = contradictionIn(scope, rights);
  if (contradiction) return refusal('invalid_request', contradiction);
  const newPools = by.scope === 'admin' && rights.pools !== '*' ? rights.pools : [];
  const spec = { name, scope, rights, expiresAt: expiresAtMs ?? untilMs };
  return createKeyIfLive(env, spec, { newPools, by: by.id }, now);
}

/** The ids of projects that are named by id or by name. A project that does not exist keeps its name. */
async function idsOf(
  env: Env,
  named: Rights['projects'],
): Promise<{ projects: Rights['projects']; unknown: readonly string[] }> {
  if (named === '*' || named.length === 0) return { projects: named, unknown: [] };
  const found = await findProjects(env, named);
  const idOf = (one: string) => (found.find(({ id }) => id === one) ?? found.find(({ name }) => name === one))?.id;
  const projects = named.map((one) => idOf(one) ?? one);
  return { projects: [...new Set(projects)], unknown: named.filter((one) => idOf(one) === undefined) };
}

function tooMuch(own: Rights, scope: KeyRequest['scope'], rights: Rights): string {
  const fields = scope === 'admin' ? ['scope'] : excess(rights, own);
  if (fields.length === 0) return 'projects: name at least one project of yours';
  return `${fields.join(', ')}: the admin of projects makes only keys of scope submit or read, with rights that it has itself`;
}

/** Finds the first contradiction in the request and returns a message about it. Null if there is none. */
function contradictionIn(scope: KeyRequest['scope'], { projects, trusted, maxPriority, may }: Rights): string | null {
  const isListed = (grants: readonly Grant[]) => may.filter((grant) => grants.includes(grant)).join(', ');
  if (may.length > 0 && scope === 'read') return 'may: a key of scope read only reads; leave it out';
  if (may.length > 0 && !trusted) return 'may: an untrusted key has none of these rights; leave them out';
  if (maxPriority > 0 && !trusted) return 'maxPriority: an untrusted key has 0 at most';
  if (maxPriority > 0 && scope === 'read') return 'maxPriority: a key of scope read submits nothing; leave it out';
  const alone = isListed(NAMED_ALONE);
  if (alone && projects === '*')
    return `projects: ${alone} needs projects that are named one by one, because "*" includes those of other teams`;
  const not = isListed(NOT_OF_DEFAULT);
  if (not && projects !== '*' && projects.includes(DEFAULT_PROJECT_ID))
    return `projects: the project default, to which every build without a project belongs, takes no ${not}. Name another project`;
  return null;
}
