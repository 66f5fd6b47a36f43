/**
 * Decides what a key may do. Pure.
 *
 * Invariant: this is the one place that decides it, by {@link may}. Rights that are absent or unreadable are
 * no rights.
 */
import { type Grant, type KeyRequest, Rights, type Scope } from '#contract';
import { DEFAULT_PROJECT_ID } from '../projects/find-project.ts';

/** The rights that a scope gives by itself. */
type ScopeRight =
  /** Its own name and rights, and its own rotation. */
  | 'self'
  /** Workers, pools, keys of all kinds, the whole audit. They belong to no project. */
  | 'farm'
  /** Requests, cancels and retries builds. */
  | 'builds.submit'
  /** Lists and details of builds. */
  | 'builds.read'
  /** Logs and artifacts of builds. */
  | 'builds.files'
  /** Uploads: of sources by submitters, of artifacts by workers. */
  | 'blobs'
  /** The requests of an agent, for its own worker alone. */
  | 'worker';

/** Rights to list names and versions, never values. Each of the grants behind a right gives it. */
const LISTS = {
  'secrets.list': ['secrets.set', 'secrets.use', 'admin'],
  'stores.list': ['stores', 'admin'],
} as const satisfies Record<string, readonly Grant[]>;

export type Right = ScopeRight | Grant | keyof typeof LISTS;

const OF_SCOPE: Record<Scope, readonly ScopeRight[]> = {
  admin: ['self', 'farm', 'builds.submit', 'builds.read', 'builds.files', 'blobs'],
  submit: ['self', 'builds.submit', 'builds.read', 'builds.files', 'blobs'],
  read: ['self', 'builds.read'],
  worker: ['self', 'blobs', 'worker'],
};

/** The words for each right in the refusal of a caller that lacks it. */
const IN_WORDS: Record<ScopeRight, string> = {
  self: 'an API key',
  farm: 'a key of scope admin',
  'builds.submit': 'a key of scope submit or admin',
  'builds.read': 'a key of scope read, submit or admin',
  'builds.files': 'a key of scope submit or admin',
  blobs: 'a key of scope submit, admin or worker',
  worker: 'the key of the worker that the path names',
};

/** Grants that need projects named one by one, so that no key has them for all projects. */
export const NAMED_ALONE: readonly Grant[] = ['secrets.use', 'secrets.set', 'admin'];

/** Grants that the project `default` does not take, because all builds without a project belong to it. */
export const NOT_OF_DEFAULT: readonly Grant[] = ['secrets.use', 'secrets.set', 'stores', 'caches.write'];

/** The thing for which a right is asked. Fields that are left out are not compared. */
export interface Thing {
  projectId?: string;
  pool?: string;
  trusted?: boolean;
  /** The worker that the right `worker` is asked for. */
  workerId?: string;
}

/** The part of a key that decides its rights. */
export interface Holder {
  scope: Scope;
  rights: Rights;
  /** Set for keys of scope `worker` alone. */
  workerId?: string | null;
}

export const NO_RIGHTS: Rights = { projects: [], pools: [], trusted: false, maxPriority: -100, may: [] };

/** The rights of the deployment's own key, and of a new key whose request names no rights. */
export const RIGHTS_TO_ALL: Rights = { projects: '*', pools: '*', trusted: true, maxPriority: 100, may: [] };

/** Whether the key may use `right` for that thing. */
export const may = (key: Holder, right: Right, thing: Thing = {}): boolean =>
  hasRight(key, right) &&
  (right === 'worker' ? isOwnWorker(key, thing) : reaches(key.rights, thing) && takes(thing, right));

/** Whether the key may use `right` for anything at all. For one thing, ask {@link may}. */
export function hasRight({ scope, rights }: Holder, right: Right): boolean {
  if (isOfScope(right)) return OF_SCOPE[scope].includes(right);
  if (isToList(right)) return LISTS[right].some((grant) => hasRight({ scope, rights }, grant));
  // An admin of the farm may do what the admin of a project may, set the counters of build numbers, have VMs
  // kept, submit to stores, and make and revoke links.
  if (scope === 'admin') return OF_FARM_ADMIN.includes(right);
  if (scope !== 'submit' || !rights.trusted) return false;
  if (rights.projects === '*' && NAMED_ALONE.includes(right)) return false;
  return rights.may.includes(right);
}

/** The grants that an admin of the farm has by its scope. */
const OF_FARM_ADMIN: readonly Right[] = ['admin', 'numbers', 'keep', 'stores', 'links'];

const isOfScope = (right: Right): right is ScopeRight => right in IN_WORDS;
const isToList = (right: Right): right is keyof typeof LISTS => right in LISTS;

/** Names the keys and grants that give `right`, for the refusal of a caller that lacks it. */
export function needed(right: Right): string {
  if (isOfScope(right)) return IN_WORDS[right];
  if (isToList(right)) return `a key of scope admin, or with one of the rights ${LISTS[right].join(', ')}`;
  const isOfAdmin = hasRight({ scope: 'admin', rights: RIGHTS_TO_ALL }, right);
  return isOfAdmin ? `a key of scope admin, or the right ${right}` : `a key with the right ${right}`;
}

const isOwnWorker = ({ workerId }: Holder, thing: Thing): boolean =>
  thing.workerId === undefined || thing.workerId === workerId;

/** Whether the project of the thing takes such a right at all, from any key. */
export const takes = ({ projectId }: Thing, right: Right): boolean =>
  projectId !== DEFAULT_PROJECT_ID || !(NOT_OF_DEFAULT as readonly Right[]).includes(right);

const reaches = ({ projects, pools, trusted }: Rights, thing: Thing): boolean =>
  includes(projects, thing.projectId) && includes(pools, thing.pool) && (trusted || thing.trusted !== true);

const includes = (list: '*' | readonly string[], one: string | undefined): boolean =>
  one === undefined || list === '*' || list.includes(one);

/** The highest priority that the key may give a build. An untrusted key puts no build before others. */
export const priorityMax = ({ trusted, maxPriority }: Rights): number =>
  trusted ? maxPriority : Math.min(maxPriority, 0);

/**
 * Whether the key may list, rotate and revoke the key `other`, and make one like it. The admin of projects
 * manages keys of scope submit or read that have no more rights than its own. A key that reaches no project
 * belongs to no admin of projects.
 */
export const mayManage = (key: Holder, other: Holder): boolean =>
  may(key, 'farm') ||
  (hasRight(key, 'admin') &&
    (other.scope === 'submit' || other.scope === 'read') &&
    other.rights.projects.length > 0 &&
    excess(other.rights, key.rights).length === 0);

/**
 * Computes the rights that a request for a key means. A client that does not know projects names none. Its
 * key reaches all projects, as keys did before.
 */
export function rightsAskedFor(asked: Partial<Pick<KeyRequest, keyof Rights>>, scope: Scope): Rights {
  const { projects, pools = '*', trusted, maxPriority, may: granted } = asked;
  if (projects === undefined) return { ...RIGHTS_TO_ALL, pools, ...(scope === 'read' && { maxPriority: 0 }) };
  return { projects, pools, trusted: trusted ?? true, maxPriority: maxPriority ?? 0, may: granted ?? [] };
}

/** Reads the column `keys.rights`. */
export function parseRights(text: string): Rights {
  try {
    return Rights.safeParse(JSON.parse(text)).data ?? NO_RIGHTS;
  } catch {
    return NO_RIGHTS;
  }
}

/** The fields in which `inner` gives something that `outer` does not give. */
export function excess(inner: Rights, outer: Rights): (keyof Rights)[] {
  const more: Record<keyof Rights, boolean> = {
    projects: isMore(inner.projects, outer.projects),
    pools: isMore(inner.pools, outer.pools),
    trusted: inner.trusted && !outer.trusted,
    maxPriority: inner.maxPriority > outer.maxPriority,
    may: inner.may.some((grant) => !outer.may.includes(grant)),
  };
  return (Object.keys(more) as (keyof Rights)[]).filter((field) => more[field]);
}

const isMore = (inner: '*' | readonly string[], outer: '*' | readonly string[]): boolean =>
  outer !== '*' && (inner === '*' || inner.some((one) => !outer.includes(one)));

/** No pool has this name, so a key with it alone reaches nothing in the former release. */
export const NO_POOL = '!';

/**
 * The pools of a key for the former release, which knows no other rights. They are the key's own pools if
 * nothing else restricts the key, and otherwise none.
 */
export function poolsForFormerRelease({ scope, rights }: Holder): string[] | null {
  if (scope === 'worker') return null;
  const { projects, pools, trusted, maxPriority } = rights;
  const isRestricted = scope === 'read' || projects !== '*' || !trusted || maxPriority < RIGHTS_TO_ALL.maxPriority;
  if (isRestricted || pools.length === 0) return [NO_POOL];
  return pools === '*' ? null : [...pools];
}
