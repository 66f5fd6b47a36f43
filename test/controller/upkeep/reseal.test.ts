import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { buildInputs, secrets } from '../../../controller/schema/index.ts';
import { sealInputs } from '../../../controller/secrets/inputs.ts';
import { newestSealingKey } from '../../../controller/secrets/sealing-keys.ts';
import { reseal } from '../../../controller/upkeep/reseal.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { begin, STATEMENTS_MAX, withPlatformLimits } from '../factories/platform-limits.ts';
import { db, HOUR_MS, insertBuild } from '../factories/rows.ts';
import { aTeam, setSecret } from '../factories/teams.ts';

const OLD = env.INPUTS_KEY;
const NEW = 'new-0123456789abcdef0123456789abcdef';
const ROTATED = `2:${NEW},1:${OLD}`;
const rotated = { ...env, INPUTS_KEY: ROTATED };
const newestId = async () => (await newestSealingKey(rotated)).id;

/** So many builds whose inputs the old key has sealed. */
async function sealedInputs(count: number, bytes = 10, key = OLD): Promise<string[]> {
  const first = await insertBuild({ hasInputs: true });
  const ids = Array.from({ length: count }, (_, i) => `${first}-${i}`);
  const columns = (
    await env.DB.prepare("SELECT name FROM pragma_table_info('builds') WHERE name <> 'id'").all<{ name: string }>()
  ).results.map(({ name }) => name);
  await env.DB.prepare(
    `INSERT INTO builds (id, ${columns}) SELECT value, ${columns} FROM builds, json_each(?2) WHERE builds.id = ?1`,
  )
    .bind(first, JSON.stringify(ids))
    .run();
  for (const buildId of ids)
    await db
      .insert(buildInputs)
      .values({ buildId, ...(await sealInputs({ INPUTS_KEY: key }, buildId, { env: { TOKEN: 'x'.repeat(bytes) } })) });
  return ids;
}
const countOf = async (where: string) =>
  (await env.DB.prepare(`SELECT count(*) AS count FROM ${where}`).first<{ count: number }>())!.count;
const olderOnes = async (table = 'build_inputs') => countOf(`${table} WHERE key_id <> '${await newestId()}'`);
const empty = () => env.DB.batch(['build_inputs', 'secrets'].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));

test('the sweep seals anew in portions what an older key sealed, and then the older key can go', async () => {
  await empty();
  const ids = await sealedInputs(120);
  const team = await aTeam();
  for (let i = 0; i < 60; i++) await setSecret(team, `NAME_${i}`, `value ${i}`);
  for (let minute = 0; (await olderOnes()) + (await olderOnes('secrets')) > 0; minute++) {
    expect(minute).toBeLessThan(3);
    const usage = begin('sweep');
    await sweep(withPlatformLimits(rotated, usage), HOUR_MS + minute * 60_000);
    expect(usage.statements).toBeLessThanOrEqual(STATEMENTS_MAX);
  }
  const rows = await db.select().from(buildInputs);
  expect(rows).toHaveLength(ids.length);
  for (const { buildId, keyId, sealed } of rows) expect(sealed.startsWith(`v2.${keyId}.`), buildId).toBe(true);
  const usage = begin('reseal');
  await reseal(withPlatformLimits(rotated, usage));
  expect(usage.statements).toBe(3);
});

test('the largest rows are sealed anew too, as many at once as D1 takes', async () => {
  await empty();
  await sealedInputs(3, 1_040_000);
  await sealedInputs(20, 100);
  for (let minute = 0; (await olderOnes()) > 0; minute++) {
    expect(minute).toBeLessThan(40);
    const usage = begin('reseal');
    await reseal(withPlatformLimits(rotated, usage));
    expect(usage.statements).toBeLessThanOrEqual(4);
  }
});

test('rows that do not open, and rows of a key that is missing, stay as they are and keep back no others', async () => {
  await empty();
  const altered = await sealedInputs(60);
  for (const id of altered)
    await db
      .update(buildInputs)
      .set({ sealed: (await sealInputs(env, 'b_another', { env: {} })).sealed })
      .where(eq(buildInputs.buildId, id));
  const missing = await sealedInputs(60, 10, 'missing-0123456789abcdef0123456789abcdef');
  const before = await db.select().from(buildInputs);
  const good = await sealedInputs(20);
  for (let minute = 0; (await olderOnes()) > altered.length + missing.length; minute++) {
    expect(minute).toBeLessThan(60);
    await reseal(rotated);
  }
  const after = await db.select().from(buildInputs);
  expect(after.filter(({ buildId }) => !good.includes(buildId))).toEqual(before);
});

test('a secret that gets a new value meanwhile keeps the new value', async () => {
  await empty();
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'first');
  // The new value comes between the sweep's read and its write.
  const late = new Proxy(env.DB, {
    get(target, name) {
      if (name !== 'prepare') return Reflect.get(target, name).bind(target);
      return (text: string) => {
        const statement = target.prepare(text);
        if (!text.startsWith('update "secrets"')) return statement;
        return {
          bind: (...values: unknown[]) => ({
            run: async () => {
              await setSecret(team, 'TOKEN', 'second', OLD);
              return statement.bind(...values).run();
            },
          }),
        };
      };
    },
  });
  await reseal({ ...rotated, DB: late });
  const [row] = await db.select().from(secrets);
  expect([row!.version, row!.keyId === (await newestId())]).toEqual([2, false]);
  await reseal(rotated);
  expect((await db.select().from(secrets))[0]!.keyId).toBe(await newestId());
});

test('without an older key, and with a malformed INPUTS_KEY, nothing is read', async () => {
  await sealedInputs(1);
  const usage = begin('reseal');
  const alone = withPlatformLimits({ ...env, INPUTS_KEY: NEW }, usage);
  await reseal(alone);
  await expect(reseal({ ...alone, INPUTS_KEY: 'short' })).rejects.toThrow('INPUTS_KEY must have');
  expect(usage.statements).toBe(0);
});
