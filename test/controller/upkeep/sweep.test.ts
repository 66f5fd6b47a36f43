import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { builds } from '../../../controller/schema/index.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { db, runningBuild } from '../factories/rows.ts';
import { aBuild, api } from '../factories/scenarios.ts';

const alarmOf = (buildId: string) =>
  runInDurableObject(env.DEADLINES.getByName(buildId), (_object, state) => state.storage.getAlarm());
const checkedAt = async (buildId: string) =>
  (await db.select().from(builds).where(eq(builds.id, buildId)).get())?.checkedAt;

test('a deadline object that throws keeps no other build from its repair, and is not asked first for ever', async () => {
  const broken = (await runningBuild()).buildId;
  const other = (await runningBuild({ checkedAt: 1 })).buildId;
  await runInDurableObject(env.DEADLINES.getByName(broken), (_object, state) =>
    state.storage.kv.put('record', { state: 'armed', attempt: 1 }),
  );
  const now = Date.now();
  await sweep(env, now, 0);
  expect(await alarmOf(other)).not.toBeNull();
  expect([await checkedAt(broken), await checkedAt(other)]).toEqual([now, now]);
});

test('a queued build that cannot be expired keeps no other from its end', async () => {
  const broken = await aBuild({ timeouts: { queueTimeoutMs: 1 } });
  const other = await aBuild({ timeouts: { queueTimeoutMs: 1 } });
  await env.DB.prepare(
    `CREATE TRIGGER refuse BEFORE UPDATE ON builds WHEN NEW.id = '${broken}' BEGIN SELECT RAISE(ABORT, 'refused by a test'); END`,
  ).run();
  await sweep(env, Date.now() + 1_000, 0);
  expect((await api<{ verdict: { code: string } }>('GET', `/api/builds/${other}`)).body.verdict.code).toBe(
    'queue_expired',
  );
  await env.DB.prepare('DROP TRIGGER refuse').run();
});
