/**
 * Keeps the stored secrets of a project: variables and files that its builds in one pool receive.
 *
 * Invariant: a value leaves this module only opened for a build (attempts/inputs-of-attempt.ts). Its sealed
 * text is bound to project, row, pool, name, path and version, so an older value cannot take its place.
 *
 * Owns the table `secrets`. upkeep/reseal.ts changes its `key_id` and `sealed` after a rotation of
 * INPUTS_KEY. The deletion of a project takes {@link withoutSecrets} into its own batch. The caller
 * decides who may ask.
 */
import { and, asc, eq, getTableColumns, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import {
  INPUTS_MAX_BYTES,
  SECRET_FILES_MAX,
  SECRET_USERS_MAX,
  type SecretsRemoved,
  type SecretView,
  STORED_SECRETS_MAX,
  whyPathsClash,
} from '#contract';
import { toBytes } from '../bytes.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { newId } from '../ids.ts';
import { isLiveProject, isNotRevoked } from '../projects/conditions.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { keys, pools, projects, secrets } from '../schema/index.ts';
import { iso, isoOrNull } from '../times.ts';
import { keyMissing } from './inputs.ts';
import { open, type Place, seal } from './sealing.ts';
import type { SealingEnv } from './sealing-keys.ts';

export type SecretRow = typeof secrets.$inferSelect;

/** `path` is null for a variable. The content of a file is in base64. */
export interface SecretContent {
  name: string;
  path: string | null;
  content: string;
}

/**
 * D1 takes 50 statements in a request on the free plan. The others find key, project and pools, list what was
 * set, and record it.
 */
const STATEMENTS_MAX = 41;
const LISTED_MAX = 2_000;

export const placeOfSecret = ({
  projectId,
  id,
  pool,
  name,
  path,
  version,
}: Pick<SecretRow, 'projectId' | 'id' | 'pool' | 'name' | 'path' | 'version'>): Place => [
  'stored_secret',
  ...[projectId, id, pool, name, path, version],
];

/**
 * Sets the secret in each of the pools. Refused: `too_large` with numbers, `invalid_request` for a path that
 * clashes with that of another secret, `unavailable` if others set it again and again meanwhile.
 *
 * @param by the id of the key that sets it
 */
export async function setSecret(
  env: Env,
  projectId: string,
  given: SecretContent,
  poolNames: readonly string[],
  by: string,
  now: number,
): Promise<{ ok: true; made: boolean } | Refusal> {
  const db = openDatabase(env);
  const sizeBytes = toBytes(sealedTextOf(given)).byteLength;
  let made = false;
  let left = [...poolNames];
  // Again for those pools where another request came first.
  for (let statements = 0; left.length > 0; ) {
    statements += 1 + left.length;
    if (statements > STATEMENTS_MAX) return busy(left);
    const present = await readSizes(db, projectId, left);
    for (const pool of left) {
      const others = present.filter((row) => row.pool === pool && row.name !== given.name);
      const refused = refuseTooMuch(others, { path: given.path, pool, sizeBytes });
      if (refused) return refused;
    }
    const old = present.filter((row) => row.name === given.name);
    const rows = await Promise.all(left.map((pool) => newRow(env, { projectId, pool, ...given }, old, by, now)));
    const [first, ...rest] = rows.map((row) => writing(db, row, sizeBytes, pathsIn(present, row)));
    const results = await db.batch([first!, ...rest]);
    const isSet = results.map(({ meta }) => meta.changes > 0);
    made ||= rows.some(({ version }, index) => isSet[index] && version === 1);
    left = left.filter((_, index) => !isSet[index]);
  }
  return { ok: true, made };
}

const sealedTextOf = ({ content }: SecretContent): string => JSON.stringify(content);

type NewRow = Omit<SecretRow, 'usedBy' | 'usedAt'>;

/** The row to write: a new one, or that of its pool with the next version. */
async function newRow(
  env: Env,
  given: SecretContent & { projectId: string; pool: string },
  present: readonly Size[],
  setBy: string,
  setAt: number,
): Promise<NewRow> {
  const { projectId, pool, name, path } = given;
  const old = present.find((row) => row.pool === pool);
  const place = { projectId, pool, name, path, id: old?.id ?? newId('sec', setAt), version: (old?.version ?? 0) + 1 };
  return { ...place, ...(await seal(env, placeOfSecret(place), sealedTextOf(given))), setBy, setAt };
}

/** The paths of the other secrets of its pool. */
const pathsIn = (present: readonly Size[], { pool, name }: NewRow): string[] =>
  present.flatMap((other) => (other.pool === pool && other.name !== name && other.path !== null ? [other.path] : []));

/**
 * The statement that writes the row, if nobody has written it meanwhile and there is room for it.
 *
 * @param seen the paths that were compared with its own
 */
function writing(db: Database, row: NewRow, sizeBytes: number, seen: readonly string[]) {
  const room = hasRoom(row, sizeBytes, seen);
  const condition = sql`${isLiveProject(row.projectId)} AND ${isNotRevoked(row.setBy)} AND ${room}`;
  if (row.version === 1)
    return insertIf(db, secrets, row, sql`${condition} AND NOT EXISTS (SELECT 1 FROM secrets WHERE ${here(row)})`);
  return db
    .update(secrets)
    .set(row)
    .where(and(eq(secrets.id, row.id), eq(secrets.version, row.version - 1), condition));
}

const busy = (poolNames: string[]): Refusal =>
  refusal('unavailable', `others change the secrets of ${poolNames.join(', ')} at the same time; repeat the request`);

const here = ({ projectId, pool, name }: Pick<SecretRow, 'projectId' | 'pool' | 'name'>): SQL =>
  and(eq(secrets.projectId, projectId), eq(secrets.pool, pool), eq(secrets.name, name))!;

/** How many bytes the sealed text of a row holds: base64url of 12 + text + 16, behind `v2.<key id>.`. */
const SIZE_BYTES = sql<number>`((length(sealed) - length(key_id) - 4) * 3 / 4 - 28)`;

interface Size {
  id: string;
  pool: string;
  name: string;
  path: string | null;
  version: number;
  sizeBytes: number;
}

const readSizes = (db: Database, projectId: string, poolNames: string[]): Promise<Size[]> =>
  db
    .select({
      ...{ id: secrets.id, pool: secrets.pool, name: secrets.name, path: secrets.path, version: secrets.version },
      sizeBytes: SIZE_BYTES,
    })
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), inArray(secrets.pool, poolNames)));

/** Whether one more secret is too much beside the `others` of its pool. Pure. */
function refuseTooMuch(
  others: readonly Pick<Size, 'name' | 'path' | 'sizeBytes'>[],
  { path, pool, sizeBytes }: Pick<Size, 'path' | 'pool' | 'sizeBytes'>,
): Refusal | null {
  for (const other of path === null ? [] : others) {
    if (other.path === path)
      return refusal('invalid_request', `path: secret ${other.name} has ${path} in pool ${pool} already`);
    const why = other.path === null ? null : whyPathsClash([other.path, path!]);
    if (why !== null)
      return refusal('invalid_request', `path: secret ${other.name} has ${other.path} in pool ${pool}; ${why}`);
  }
  const count = others.length + 1;
  if (count > STORED_SECRETS_MAX)
    return tooMuch(
      `pool ${pool} would have ${count} stored secrets of this project, and may have ${STORED_SECRETS_MAX}`,
    );
  const files = [path, ...others.map((other) => other.path)].filter((one) => one !== null).length;
  if (files > SECRET_FILES_MAX)
    return tooMuch(
      `pool ${pool} would have ${files} stored files of this project, and a build may have ${SECRET_FILES_MAX}`,
    );
  const total = others.reduce((sum, other) => sum + other.sizeBytes, sizeBytes);
  if (total > INPUTS_MAX_BYTES)
    return tooMuch(
      `the stored secrets of this project in pool ${pool} would have ${total} bytes, and a build may have ${INPUTS_MAX_BYTES}`,
    );
  return null;
}

const tooMuch = (what: string): Refusal => refusal('too_large', `${what}. Delete some that nobody needs`);

/** The same in SQL, for the statement that writes, because another request may have come before it. */
const hasRoom = (
  { projectId, pool, name, path }: Pick<SecretRow, 'projectId' | 'pool' | 'name' | 'path'>,
  sizeBytes: number,
  seen: readonly string[],
): SQL => sql`(
  SELECT count(*) < ${STORED_SECRETS_MAX} AND count(path) + ${path === null ? 0 : 1} <= ${SECRET_FILES_MAX}
     AND total(${SIZE_BYTES}) + ${sizeBytes} <= ${INPUTS_MAX_BYTES} AND ${path === null ? sql`TRUE` : hasNoNewClash(path, seen)}
  FROM secrets WHERE project_id = ${projectId} AND pool = ${pool} AND name <> ${name})`;

/**
 * Checks that no path came meanwhile that may clash with this one. SQL knows upper and lower case of ASCII
 * alone, so a path with other letters is compared in the next round.
 */
function hasNoNewClash(path: string, seen: readonly string[]): SQL {
  const [folded, isPlain] = [path.toLowerCase(), /^[ -~]*$/.test(path)];
  const clashes = sql`(path GLOB '*[^ -~]*' OR lower(path) = ${folded}
    OR substr(${folded}, 1, length(path) + 1) = lower(path) || '/'
    OR substr(lower(path), 1, ${folded.length + 1}) = ${`${folded}/`})`;
  const isNew = sql`path NOT IN (SELECT value FROM json_each(${JSON.stringify(seen)}))`;
  return sql`coalesce(max(${isNew} AND ${isPlain ? clashes : sql`TRUE`}), 0) = 0`;
}

/** Removes the secret from these pools. Refused: `not_found` if none of them has it. */
export async function removeSecret(
  env: Env,
  projectId: string,
  name: string,
  poolNames: '*' | readonly string[],
): Promise<{ ok: true; removed: SecretsRemoved['removed'] } | Refusal> {
  const removed = await openDatabase(env)
    .delete(secrets)
    .where(and(...[eq(secrets.projectId, projectId), eq(secrets.name, name)], isInPools(poolNames)))
    .returning({ id: secrets.id, name: secrets.name, pool: secrets.pool, version: secrets.version });
  if (removed.length > 0) return { ok: true, removed };
  const where = poolNames === '*' ? '' : ` in pool ${poolNames.join(', ')}`;
  return refusal('not_found', `there is no stored secret ${name}${where}`);
}

const isInPools = (poolNames: '*' | readonly string[]): SQL | undefined =>
  poolNames === '*' ? undefined : inArray(secrets.pool, [...poolNames]);

const { keyId: _keyId, sealed: _sealed, ...SHOWN } = getTableColumns(secrets);

/** The secrets of a project in these pools without their values, by name, then by pool. */
export async function listSecrets(
  env: Env,
  projectId: string,
  filter: { name?: string; pools: '*' | readonly string[] },
): Promise<SecretView[]> {
  const rows = await openDatabase(env)
    .select({ ...SHOWN, keyName: keys.name })
    .from(secrets)
    .leftJoin(keys, eq(keys.id, secrets.setBy))
    .where(
      and(
        eq(secrets.projectId, projectId),
        filter.name === undefined ? undefined : eq(secrets.name, filter.name),
        isInPools(filter.pools),
      ),
    )
    .orderBy(asc(secrets.name), asc(secrets.pool))
    .limit(LISTED_MAX);
  return rows.map(({ id, name, path, pool, version, setBy, keyName, setAt, usedBy, usedAt }) => ({
    ...{ id, name, path, pool, version, usedBy },
    setBy: { keyId: setBy, name: keyName },
    setAt: iso(setAt),
    usedAt: isoOrNull(usedAt),
  }));
}

/** The secrets of a live project for a trusted pool, still sealed. None for any other. */
export async function readSecretsFor(env: Env, projectId: string, pool: string): Promise<SecretRow[]> {
  const rows = await openDatabase(env)
    .select({ secret: secrets })
    .from(secrets)
    .innerJoin(projects, and(eq(projects.id, secrets.projectId), isNull(projects.deletedAt)))
    .innerJoin(pools, and(eq(pools.name, secrets.pool), eq(pools.trusted, true)))
    .where(and(eq(secrets.projectId, projectId), eq(secrets.pool, pool)))
    .orderBy(asc(secrets.name))
    .limit(STORED_SECRETS_MAX);
  return rows.map(({ secret }) => secret);
}

/** The statement that reads the names of the secrets of a project and pool, for the batch of a view. */
export const namesOfSecrets = (db: Database, { projectId, pool }: { projectId: string; pool: string }) =>
  db
    .select({ id: secrets.id, name: secrets.name })
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), eq(secrets.pool, pool)));

/** The statement that removes the secrets of a project if `condition` holds, in another owner's batch. */
export const withoutSecrets = (db: Database, projectId: string, condition: SQL) =>
  db.delete(secrets).where(and(eq(secrets.projectId, projectId), condition));

/** The content. Refused: `inputs_key_missing`; `inputs_gone` if the row was altered. */
export async function openSecret(env: SealingEnv, row: SecretRow): Promise<{ ok: true; content: string } | Refusal> {
  const opened = await open(env, placeOfSecret(row), row.sealed);
  if (opened.ok) return { ok: true, content: JSON.parse(opened.text) as string };
  if (opened.why === 'key missing') return keyMissing(`the stored secret ${row.name} of pool ${row.pool}`, opened);
  return refusal(
    'inputs_gone',
    `the stored secret ${row.name} of pool ${row.pool} cannot be opened, because its row was altered. ` +
      'Set the secret anew, then submit the build anew.',
  );
}

/** The statement that notes in the batch of another owner that a build has received these secrets. */
export const usage = (db: Database, ids: readonly string[], buildId: string, now: number) =>
  db
    .update(secrets)
    .set({
      usedBy: sql`(SELECT json_group_array(value) FROM (
        SELECT ${buildId} AS value UNION ALL
        SELECT value FROM (SELECT value, key FROM json_each(used_by) WHERE value <> ${buildId} ORDER BY key)
        LIMIT ${SECRET_USERS_MAX}))`,
      usedAt: now,
    })
    .where(
      and(
        sql`id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`,
        // An agent that restarts asks again. That writes nothing.
        sql`used_by ->> '$[0]' IS NOT ${buildId}`,
      ),
    );
