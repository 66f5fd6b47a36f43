/**
 * Decides what a key may do. Pure.
 *
 * Invariant: this is the one place that decides it, by {@link may}. Rights that are absent or unreadable are
 * no rights.
 */
import { type Grant, type KeyRequest, Rights, type Scope } from '#contract';

/** What a scope may do by itself. */
export type ScopeRight =
  /** Workers, pools, keys of all kinds, the audit: what belongs to no project. */
  | 'farm'
  /** Requests, cancels and retries builds. */
  | 'builds.submit'
  /** Lists and details of builds. */
  | 'builds.read'
  /** Logs and artifacts of builds. */
  | 'builds.files';

export type Right = ScopeRight | Grant;

const OF_SCOPE: Record<Scope, readonly ScopeRight[]> = {
  admin: ['farm', 'builds.submit', 'builds.read', 'builds.files'],
  submit: ['builds.submit', 'builds.read', 'builds.files'],
  read: ['builds.read'],
  worker: [],
};

/** Must be granted for projects that are named one by one, so that no key has them for all projects. */
const NAMED_ALONE: readonly Right[] = ['secrets.use', 'secrets.set'];

/** What the right is asked for. What is left out is not compared. */
export interface Thing {
  projectId?: string;
  pool?: string;
  trusted?: boolean;
}

/** Who asks, as far as its rights go. */
export interface Holder {
  scope: Scope;
  rights: Rights;
}

export const NO_RIGHTS: Rights = { projects: [], pools: [], trusted: false, maxPriority: -100, may: [] };

/** What the deployment's own key may do, and what a request for a key means that names no rights. */
export const RIGHTS_TO_ALL: Rights = { projects: '*', pools: '*', trusted: true, maxPriority: 100, may: [] };

/** Whether the key may use `right` for that thing. */
export function may(key: Holder, right: Right, thing: Thing = {}): boolean {
  return hasRight(key, right) && reaches(key.rights, thing);
}

function hasRight({ scope, rights }: Holder, right: Right): boolean {
  if (isOfScope(right)) return OF_SCOPE[scope].includes(right);
  // An admin of the farm may do what the admin of a project may.
  if (right === 'admin' && scope === 'admin') return true;
  if (NAMED_ALONE.includes(right) && rights.projects === '*') return false;
  return rights.trusted && rights.may.includes(right);
}

const isOfScope = (right: Right): right is ScopeRight => (OF_SCOPE.admin as readonly Right[]).includes(right);

const reaches = ({ projects, pools, trusted }: Rights, thing: Thing): boolean =>
  includes(projects, thing.projectId) && includes(pools, thing.pool) && (trusted || thing.trusted !== true);

const includes = (list: '*' | readonly string[], one: string | undefined): boolean =>
  one === undefined || list === '*' || list.includes(one);

/**
 * What a request for a key means. One that names none of the rights that came later is of a client that does
 * not know them: its key reaches all, as keys did before.
 */
export function rightsAskedFor(asked: Partial<Pick<KeyRequest, keyof Rights>>): Rights {
  const { projects, pools = '*', trusted, maxPriority, may: granted } = asked;
  if (projects === undefined) return { ...RIGHTS_TO_ALL, pools };
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

/** Whether `inner` gives nothing that `outer` does not give. Names each field that does. */
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
 * What the former release, which knows pools alone, reads of a key: its pools if nothing else restricts it,
 * else none.
 */
export function poolsForFormerRelease({ scope, rights }: Holder): string[] | null {
  if (scope === 'worker') return null;
  const { projects, pools, trusted, maxPriority } = rights;
  const isRestricted = scope === 'read' || projects !== '*' || !trusted || maxPriority < RIGHTS_TO_ALL.maxPriority;
  if (isRestricted || pools.length === 0) return [NO_POOL];
  return pools === '*' ? null : [...pools];
}
