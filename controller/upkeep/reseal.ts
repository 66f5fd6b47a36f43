/**
 * Seals anew what older keys of INPUTS_KEY have sealed, a portion a minute. When nothing is left, the older
 * keys can be removed.
 *
 * Invariant: a text is replaced only while its row is as it was read. A text changes only together with
 * `key_id` or `version`, so these two are compared in place of the text, which may have 1.4 MB.
 *
 * Changes `key_id` and `sealed` in `build_inputs`, `secrets` and `store_keys`, and nothing else. A row that
 * does not open stays as it is.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { buildInputs, secrets, storeKeys } from '../schema/index.ts';
import { placeOfInputs } from '../secrets/inputs.ts';
import { open, type Place, type Sealed, seal } from '../secrets/sealing.ts';
import { knownKeyIds, newestSealingKey } from '../secrets/sealing-keys.ts';
import { placeOfSecret } from '../secrets/stored-secrets.ts';
import { placeOfStoreKey } from '../stores/store-keys.ts';

const PORTION = 50;
/** The portion is drawn at random from this many rows, so that rows that do not open hold up no others. */
const LOOKED_AT_MAX = 500;
/** D1 takes 2 MB in one value, and all new texts of a portion are one value. */
const PORTION_MAX_BYTES = 1_800_000;

/** Called by the sweep. Six statements. */
export async function reseal(env: Env): Promise<void> {
  const newest = await newestSealingKey(env);
  const older = JSON.stringify((await knownKeyIds(env)).filter((id) => id !== newest.id));
  const isOlder = sql`key_id IN (SELECT value FROM json_each(${older}))`;
  if (older !== '[]') for (const part of [resealInputs, resealSecrets, resealStoreKeys]) await part(env, isOlder);
}

async function resealInputs(env: Env, isOlder: SQL): Promise<void> {
  const db = openDatabase(env);
  const rows = await db
    .select()
    .from(buildInputs)
    .where(sql`build_id IN ${portionOf('build_inputs', 'build_id', isOlder)}`);
  const anew = await sealAnew(env, rows, ({ buildId }) => placeOfInputs(buildId));
  if (anew.length === 0) return;
  const each = eachOf(anew.map(({ row: { buildId, keyId }, sealed }) => ({ id: buildId, was: keyId, ...sealed })));
  await db
    .update(buildInputs)
    .set({ keyId: each.field('keyId'), sealed: each.field('sealed') })
    .from(each.rows)
    .where(and(eq(buildInputs.buildId, each.field('id')), eq(buildInputs.keyId, each.field('was'))));
}

async function resealSecrets(env: Env, isOlder: SQL): Promise<void> {
  const db = openDatabase(env);
  const rows = await db
    .select()
    .from(secrets)
    .where(sql`id IN ${portionOf('secrets', 'id', isOlder)}`);
  const anew = await sealAnew(env, rows, placeOfSecret);
  if (anew.length === 0) return;
  const each = eachOf(anew.map(({ row: { id, keyId, version }, sealed }) => ({ id, was: keyId, version, ...sealed })));
  await db
    .update(secrets)
    .set({ keyId: each.field('keyId'), sealed: each.field('sealed') })
    .from(each.rows)
    .where(
      and(
        eq(secrets.id, each.field('id')),
        eq(secrets.keyId, each.field('was')),
        eq(secrets.version, each.field('version')),
      ),
    );
}

async function resealStoreKeys(env: Env, isOlder: SQL): Promise<void> {
  const db = openDatabase(env);
  const rows = await db
    .select()
    .from(storeKeys)
    .where(sql`id IN ${portionOf('store_keys', 'id', isOlder)}`);
  const anew = await sealAnew(env, rows, placeOfStoreKey);
  if (anew.length === 0) return;
  const each = eachOf(anew.map(({ row: { id, keyId, version }, sealed }) => ({ id, was: keyId, version, ...sealed })));
  await db
    .update(storeKeys)
    .set({ keyId: each.field('keyId'), sealed: each.field('sealed') })
    .from(each.rows)
    .where(
      and(
        eq(storeKeys.id, each.field('id')),
        eq(storeKeys.keyId, each.field('was')),
        eq(storeKeys.version, each.field('version')),
      ),
    );
}

/** The ids of some rows that older keys have sealed, as many as fit into one value. */
const portionOf = (table: 'build_inputs' | 'secrets' | 'store_keys', id: 'build_id' | 'id', isOlder: SQL): SQL => sql`(
  SELECT id FROM (
    SELECT ${sql.raw(id)} AS id, sum(length(sealed) + 300) OVER (ROWS UNBOUNDED PRECEDING) AS bytes
    FROM ${sql.raw(table)} WHERE ${sql.raw(id)} IN (
      SELECT id FROM (SELECT ${sql.raw(id)} AS id FROM ${sql.raw(table)} WHERE ${isOlder} LIMIT ${LOOKED_AT_MAX})
      ORDER BY random() LIMIT ${PORTION}))
  WHERE bytes <= ${PORTION_MAX_BYTES})`;

async function sealAnew<Row extends { sealed: string }>(
  env: Env,
  rows: Row[],
  placeOf: (row: Row) => Place,
): Promise<{ row: Row; sealed: Sealed }[]> {
  const anew: { row: Row; sealed: Sealed }[] = [];
  for (const row of rows) {
    const opened = await open(env, placeOf(row), row.sealed);
    if (opened.ok) anew.push({ row, sealed: await seal(env, placeOf(row), opened.text) });
    else console.error(JSON.stringify({ event: 'reseal_failed', place: placeOf(row), why: opened.why }));
  }
  return anew;
}

/** Rows as one value, because a statement takes 100 values only. */
const eachOf = (rows: object[]) => ({
  rows: sql`json_each(${JSON.stringify(rows)}) AS each_row`,
  field: (name: string) => sql.raw(`each_row.value ->> '$.${name}'`) as SQL<never>,
});
