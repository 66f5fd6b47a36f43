/**
 * Keeps the keys with which a project speaks to the stores.
 *
 * Invariant: the private part leaves this module only opened for a call to a store, and no answer has it. A
 * list says of it whether it has an issuer id, and nothing else. Its sealed text is bound to project, row,
 * name, store and version, and to the apps and pools that it is for. So nobody who writes to the database
 * alone can give a key to another app or pool.
 *
 * Owns the table `store_keys`. upkeep/reseal.ts changes its `key_id` and `sealed` after a rotation of
 * INPUTS_KEY. The caller decides who may ask.
 */
import { and, asc, eq, getTableColumns, isNull, type SQL, sql } from 'drizzle-orm';
import {
  STORE_KEYS_MAX,
  type Store,
  type StoreKeyRequest,
  type StoreKeyView,
  type SubmissionReason,
  type SubmitOptions,
} from '#contract';
import { ADMIN_KEY_ID, type AuthenticatedKey } from '../access/keys.ts';
import { may } from '../access/rights.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { isLiveProject, isNotRevoked } from '../projects/conditions.ts';
import { DEFAULT_PROJECT_ID } from '../projects/find-project.ts';
import { POOLS_LISTED } from '../projects/pools.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys, pools, projects, storeKeys } from '../schema/index.ts';
import { keyMissing } from '../secrets/inputs.ts';
import { open, type Place, seal } from '../secrets/sealing.ts';
import type { SealingEnv } from '../secrets/sealing-keys.ts';
import { iso } from '../times.ts';
import { checkStoreKey } from './check-store-key.ts';
import { readPrivatePart } from './private-part.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import type { StoreRefusal } from './store-refusal.ts';

export type StoreKeyRow = typeof storeKeys.$inferSelect;

type Bound = Pick<StoreKeyRow, 'projectId' | 'id' | 'name' | 'store' | 'version' | 'identity' | 'apps' | 'pools'>;

export const placeOfStoreKey = ({ projectId, id, name, store, version, identity, apps, pools }: Bound): Place => [
  'store_key',
  ...[projectId, id, name, store, version, identity, JSON.stringify(apps), JSON.stringify(pools)],
];

interface Given {
  projectId: string;
  name: string;
  request: StoreKeyRequest;
  /** Trusted pools that the key which sets it reaches. */
  pools: string[];
}

/**
 * Asks the store whether it takes the key, and then stores the key. `warnings` has the unanswered questions.
 *
 * Refused: `invalid_request` for a private part that cannot be read; `store_refused` if the store does not
 * take it; `forbidden` for one that is for pools which `by` does not reach; `too_large`; `unavailable` if
 * others set it at the same time.
 */
export async function setStoreKey(
  env: Env,
  { projectId, name, request, pools: forPools }: Given,
  by: AuthenticatedKey,
  addresses: StoreAddresses,
  now: number,
): Promise<{ ok: true; storeKey: StoreKeyView; warnings: string[] } | Refusal> {
  if (projectId === DEFAULT_PROJECT_ID) return notOfDefault;
  const read = await readPrivatePart(request);
  if (!read.ok) return read;
  const old = await findByName(env, projectId, name);
  if (old) {
    const refused = whyNotReplaced(old, request.store, by);
    if (refused) return refused;
  }
  const checked = await checkStoreKey(read.key, addresses);
  if (!checked.ok) return checked;

  const place: Bound = {
    ...{ projectId, name, store: request.store, identity: read.identity },
    ...{ id: old?.id ?? newId('stk', now), version: (old?.version ?? 0) + 1 },
    ...{ apps: [...new Set(request.apps)].sort(), pools: [...forPools].sort() },
  };
  const sealed = await seal(env, placeOfStoreKey(place), JSON.stringify(read.key));
  const row: StoreKeyRow = { ...place, ...sealed, setBy: by.id, setAt: now };
  const { meta } = await writing(openDatabase(env), row);
  if (meta.changes > 0) {
    // The view shows the row that was written, because others may have written a later version by now.
    const storeKey = await viewOf(env, row, by.id === ADMIN_KEY_ID ? null : by.name);
    return { ok: true, storeKey, warnings: checked.warnings.map((why) => `${why} ${UNCHECKED}`) };
  }
  const count = await countOf(env, projectId);
  if (!old && count >= STORE_KEYS_MAX)
    return refusal(
      'too_large',
      `the project has ${count} store keys, and may have no more. Delete one that nobody needs`,
    );
  return refusal(
    'unavailable',
    `others change the store key ${name} or its project at the same time; repeat the request`,
  );
}

const UNCHECKED =
  'So the key is stored unchecked. The store is asked with it at the next build with `submit`, or when you send this ' +
  'request again.';

const notOfDefault = refusal(
  'invalid_request',
  'the project default takes no store keys, because every key may submit builds to it. Make a project for the app ' +
    '(`POST /api/projects`), and set the store key there',
);

/** The statement that writes the row, unless somebody has written it meanwhile. */
function writing(db: Database, row: StoreKeyRow) {
  const { projectId, name, version } = row;
  const condition = sql`${isLiveProject(projectId)} AND ${isNotRevoked(row.setBy)}`;
  if (version === 1)
    return insertIf(
      db,
      storeKeys,
      row,
      sql`${condition} AND ${countIn(projectId)} < ${STORE_KEYS_MAX}
        AND NOT EXISTS (SELECT 1 FROM store_keys WHERE project_id = ${projectId} AND name = ${name})`,
    );
  return db
    .update(storeKeys)
    .set(row)
    .where(and(eq(storeKeys.id, row.id), eq(storeKeys.version, version - 1), condition));
}

const countIn = (projectId: string): SQL => sql`(SELECT count(*) FROM store_keys WHERE project_id = ${projectId})`;

const countOf = async (env: Env, projectId: string): Promise<number> =>
  (await openDatabase(env).get<{ count: number }>(sql`SELECT ${countIn(projectId)} AS count`)).count;

const findByName = (env: Env, projectId: string, name: string): Promise<StoreKeyRow | undefined> =>
  openDatabase(env)
    .select()
    .from(storeKeys)
    .where(and(eq(storeKeys.projectId, projectId), eq(storeKeys.name, name)))
    .get();

function whyNotReplaced(old: StoreKeyRow, store: Store, by: AuthenticatedKey): Refusal | null {
  if (old.store !== store)
    return refusal(
      'invalid_request',
      `store: the store key ${old.name} is for ${old.store}; take another name, or delete it`,
    );
  return whyNotReached(old, by);
}

function whyNotReached({ projectId, name, pools: its }: StoreKeyRow, by: AuthenticatedKey): Refusal | null {
  const foreign = its.find((pool) => !may(by, 'admin', { projectId, pool }));
  if (foreign === undefined) return null;
  return refusal('forbidden', `pools: the store key ${name} is for pool ${foreign} too, which this key does not reach`);
}

/** Refused: `not_found`; `forbidden` for one that is for pools which `by` does not reach. */
export async function removeStoreKey(
  env: Env,
  projectId: string,
  name: string,
  by: AuthenticatedKey,
): Promise<{ ok: true; removed: StoreKeyView } | Refusal> {
  const old = await findByName(env, projectId, name);
  const refused = old && whyNotReached(old, by);
  if (refused) return refused;
  const [removed] = await listStoreKeys(env, projectId, name);
  if (removed) {
    const { meta } = await openDatabase(env).delete(storeKeys).where(eq(storeKeys.id, removed.id));
    if (meta.changes > 0) return { ok: true, removed };
  }
  return refusal('not_found', `there is no store key ${name}`);
}

/** The store keys of a project without their private parts, by name. */
export async function listStoreKeys(env: Env, projectId: string, name?: string): Promise<StoreKeyView[]> {
  const rows = await openDatabase(env)
    .select({ row: getTableColumns(storeKeys), keyName: keys.name })
    .from(storeKeys)
    .leftJoin(keys, eq(keys.id, storeKeys.setBy))
    .where(and(eq(storeKeys.projectId, projectId), name === undefined ? undefined : eq(storeKeys.name, name)))
    .orderBy(asc(storeKeys.name))
    .limit(STORE_KEYS_MAX);
  return Promise.all(rows.map(({ row, keyName }) => viewOf(env, row, keyName)));
}

/** `keyName` is the name of the key that has set it, null for ADMIN_KEY. */
async function viewOf(env: Env, row: StoreKeyRow, keyName: string | null): Promise<StoreKeyView> {
  const { id, name, store, identity, apps, pools, version, setBy, setAt } = row;
  const hasIssuerId = await isOfTeam(env, row);
  return {
    ...{ id, name, store, identity, hasIssuerId, apps, pools, version },
    ...{ setBy: { keyId: setBy, name: keyName }, setAt: iso(setAt) },
  };
}

async function isOfTeam(env: Env, row: StoreKeyRow): Promise<boolean | null> {
  if (row.store !== 'app-store-connect') return null;
  const opened = await openStoreKey(env, row);
  return opened.ok && opened.key.store === row.store ? opened.key.issuerId !== null : null;
}

/** The use that needs a store key. */
interface KeyUse {
  projectId: string;
  /** The pool of the build. */
  pool: string;
  store: Store;
  /** The bundle id or the package. Undefined while it is not known: apps are then not compared. */
  appId: string | undefined;
  /** The name of the store key, where a request names one. */
  name?: string | undefined;
}

/**
 * The one key of the project that may upload this app for builds of this pool. Refused: `store_refused` with
 * the reason `key_gone` or `key_not_for_app`. The message names the keys to choose from.
 */
export async function findStoreKeyFor(env: Env, use: KeyUse): Promise<{ ok: true; row: StoreKeyRow } | StoreRefusal> {
  const { projectId, pool, store, appId, name } = use;
  const db = openDatabase(env);
  const [rows, [itsPool]] = await db.batch([
    db
      .select(getTableColumns(storeKeys))
      .from(storeKeys)
      .innerJoin(projects, and(eq(projects.id, storeKeys.projectId), isNull(projects.deletedAt)))
      .where(eq(storeKeys.projectId, projectId))
      .orderBy(asc(storeKeys.name))
      .limit(STORE_KEYS_MAX),
    db.select({ trusted: pools.trusted }).from(pools).where(eq(pools.name, pool)),
  ]);
  const ofStore = rows.filter((row) => row.store === store);
  if (!itsPool) return refused('key_not_for_app', `there is no pool ${pool}; ${POOLS_LISTED}`);
  if (!itsPool.trusted)
    return refused('key_not_for_app', `pool ${pool} is not trusted, so no store key is for its builds`);
  if (name !== undefined) {
    const named = rows.find((row) => row.name === name);
    if (!named) return refused('key_gone', `storeKey: the project has no store key ${name}. ${listed(ofStore, use)}`);
    const why = whyNotFor(named, use);
    return why === null ? { ok: true, row: named } : refused('key_not_for_app', `storeKey: ${why}`);
  }
  const fit = ofStore.filter((row) => whyNotFor(row, use) === null);
  if (fit.length === 1) return { ok: true, row: fit[0]! };
  const what = appId === undefined ? `pool ${pool}` : `${appId} and pool ${pool}`;
  if (fit.length > 1) {
    const names = fit.map((row) => row.name).join(', ');
    return { ...refused('key_not_for_app', `storeKey: ${names} are all for ${what}; name one of them`), choice: true };
  }
  const only = ofStore.length === 1 ? whyNotFor(ofStore[0]!, use) : null;
  if (only !== null) return refused('key_not_for_app', `storeKey: ${only}`);
  return refused(
    ofStore.length === 0 ? 'key_gone' : 'key_not_for_app',
    `storeKey: the project has no store key for ${what}. ${listed(ofStore, use)}`,
  );
}

/** Null if the key may upload the app for builds of the pool. Otherwise a sentence with the fix. */
export function whyNotFor(
  { name, store, apps, pools: its }: Pick<StoreKeyRow, 'name' | 'store' | 'apps' | 'pools'>,
  use: Pick<KeyUse, 'store' | 'appId' | 'pool'>,
): string | null {
  if (store !== use.store) return `the store key ${name} is for ${store}, and this needs one for ${use.store}`;
  if (use.appId !== undefined && !apps.includes(use.appId))
    return `the store key ${name} is for ${apps.join(', ')}, and not for ${use.appId}. An admin can set it anew with that app`;
  if (!its.includes(use.pool))
    return `the store key ${name} is for builds of pool ${its.join(', ')}, and not of ${use.pool}. An admin can set it anew with that pool`;
  return null;
}

/** Null if the request names no other key than the stored one. Otherwise a sentence with the fix. */
export function whyOtherKey(options: SubmitOptions, { name, identity }: Pick<StoreKeyRow, 'name' | 'identity'>) {
  if (options.store !== 'app-store-connect' || options.ascApiKeyId === undefined) return null;
  if (options.ascApiKeyId === identity) return null;
  return (
    `ascApiKeyId: ${options.ascApiKeyId} is asked for, and the store key ${name} is ${identity}. ` +
    'Correct it in eas.json or leave it out, name another `storeKey`, or have an admin set the store key anew'
  );
}

const listed = (rows: StoreKeyRow[], { store, projectId }: KeyUse): string =>
  rows.length === 0
    ? `It has none for ${store}: an admin sets one with \`PUT /api/projects/${projectId}/store-keys/NAME\``
    : `For ${store} it has ${rows.map(({ name, apps }) => `${name} (${apps.join(', ')})`).join('; ')}`;

const refused = (reason: SubmissionReason, message: string): StoreRefusal => ({
  ...refusal('store_refused', message),
  reason,
});

/** Refused: `inputs_key_missing`; `inputs_gone` if the row was altered. */
export async function openStoreKey(
  env: SealingEnv,
  row: StoreKeyRow,
): Promise<{ ok: true; key: OpenedStoreKey } | Refusal> {
  const opened = await open(env, placeOfStoreKey(row), row.sealed);
  if (opened.ok) return { ok: true, key: JSON.parse(opened.text) as OpenedStoreKey };
  if (opened.why === 'key missing') return keyMissing(`the store key ${row.name}`, opened);
  return refusal(
    'inputs_gone',
    `the store key ${row.name} cannot be opened, because its row was altered. Delete it, and set it anew.`,
  );
}

/**
 * The statement that removes the store keys of a project if `condition` holds, in the batch of another owner.
 */
export const withoutStoreKeys = (db: Database, projectId: string, condition: SQL) =>
  db.delete(storeKeys).where(and(eq(storeKeys.projectId, projectId), condition));
