import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq, inArray } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS } from '#contract';
import { logObject } from '../../../controller/build-log/build-log.ts';
import { logPrefix } from '../../../controller/build-log/segments.ts';
import { insertBuild as submitRow } from '../../../controller/builds/insert.ts';
import { removeOrphans, storeBlob } from '../../../controller/files/blobs.ts';
import { sendBlob } from '../../../controller/files/download.ts';
import { touchHold } from '../../../controller/files/holds.ts';
import type { RetentionDays } from '../../../controller/files/retention-days.ts';
import { DEFAULT_PROJECT_ID as HOLDER } from '../../../controller/projects/find-project.ts';
import {
  artifacts,
  attemptEvidence,
  attempts,
  blobs,
  buildInputs,
  builds,
  events,
  idempotency,
  outbox,
} from '../../../controller/schema/index.ts';
import { sealInputs } from '../../../controller/secrets/inputs.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { removedByFormerRelease } from '../factories/former-release.ts';
import { begin, STATEMENTS_MAX, withPlatformLimits } from '../factories/platform-limits.ts';
import {
  bytesOf,
  call,
  db,
  errorOf,
  HOUR_MS,
  insertAttempt,
  insertBuild,
  sha256Of,
  submitKey,
  unique,
} from '../factories/rows.ts';

const DAY_MS = 24 * HOUR_MS;
const NOW = Date.now();
const KEPT: RetentionDays = { logs: 30, artifacts: 14, sources: 3, builds: 180 };
const daysAgo = (days: number) => NOW - days * DAY_MS;
const retention = async (now = NOW) => {
  await retain(env, now, KEPT);
  await drainOutbox(env, now, { limit: 500 });
};

/** A file that nobody has asked for since then. */
async function aFile(touchedDaysAgo = 2): Promise<{ sha256: string; r2Key: string }> {
  const bytes = bytesOf(unique('file'));
  const sha256 = await sha256Of(bytes);
  await storeBlob(env, HOLDER, sha256, bytes.byteLength, new Blob([bytes]).stream(), daysAgo(touchedDaysAgo));
  return { sha256, r2Key: (await rowOf(sha256))!.r2Key };
}
const rowOf = (sha256: string) => db.select().from(blobs).where(eq(blobs.sha256, sha256)).get();
const buildRow = (id: string) => db.select().from(builds).where(eq(builds.id, id)).get();
const sealed = (buildId: string) => sealInputs(env, buildId, { env: { TOKEN: 'secret' } });
const inputsOf = (buildId: string) => db.select().from(buildInputs).where(eq(buildInputs.buildId, buildId)).get();
const aName = (target: string) => ({
  ...{ rootId: unique('key'), projectId: '', name: 'release', requestMac: 'm1.k.x', target, createdAt: daysAgo(181) },
});
const isThere = async ({ sha256, r2Key }: { sha256: string; r2Key: string }) => {
  const [row, object] = await Promise.all([rowOf(sha256), env.BLOBS.head(r2Key)]);
  expect(row !== undefined).toBe(object !== null);
  return row !== undefined;
};
async function endedBuild(days: number, overrides: Partial<typeof builds.$inferInsert> = {}) {
  const endedAt = daysAgo(days);
  const buildId = await insertBuild({ status: 'succeeded', endedAt, createdAt: endedAt, ...overrides });
  await insertAttempt(buildId, 1, { claimedAt: endedAt - HOUR_MS, endedAt });
  return buildId;
}
async function anArtifact(buildId: string, sha256: string, createdAt: number, icon: string | null = null) {
  await db.insert(artifacts).values({ buildId, attempt: 1, name: 'App.ipa', sha256, size: 1, createdAt, icon });
}
async function aSealedLog(buildId: string) {
  const prefix = logPrefix(buildId, 1);
  for (const part of [0, 1]) await env.BLOBS.put(`${prefix}/${part}.gz`, 'x');
  await db
    .update(attempts)
    .set({ logR2Key: prefix, logSealedLength: 2, logComplete: true })
    .where(eq(attempts.buildId, buildId));
}
const logObjects = async (buildId: string) => (await env.BLOBS.list({ prefix: logPrefix(buildId, 1) })).objects.length;

test('a source goes 3 days after the end of its build, and not before', async () => {
  const [old, young] = [await aFile(), await aFile()];
  const oldBuild = await endedBuild(3.1, { sourceSha256: old.sha256 });
  const youngBuild = await endedBuild(2.9, { sourceSha256: young.sha256 });
  for (const buildId of [oldBuild, youngBuild])
    await db.insert(buildInputs).values({ buildId, ...(await sealed(buildId)) });
  await retention();
  expect([await isThere(old), await isThere(young)]).toEqual([false, true]);
  expect(await buildRow(oldBuild)).toMatchObject({ sourceSha256: old.sha256, sourceBlob: null });
  expect(await Promise.all([oldBuild, youngBuild].map(inputsOf))).toEqual([undefined, expect.anything()]);
});

test('what a live build or a retry needs stays, however old it is', async () => {
  const [live, retried] = [await aFile(300), await aFile(300)];
  const longAgo = daysAgo(300);
  const liveBuild = await insertBuild({ sourceSha256: live.sha256, createdAt: longAgo });
  await insertAttempt(liveBuild, 1, { endedAt: longAgo });
  await aSealedLog(liveBuild);
  await anArtifact(liveBuild, live.sha256, longAgo);
  await endedBuild(100, { sourceSha256: retried.sha256 });
  await insertBuild({ status: 'queued', attempt: 0, sourceSha256: retried.sha256 });
  await retention();
  expect([await isThere(live), await isThere(retried)]).toEqual([true, true]);
  expect(await logObjects(liveBuild)).toBe(2);
  expect(await db.select().from(artifacts).where(eq(artifacts.buildId, liveBuild))).toHaveLength(1);
});

test('artifacts go after 14 days, and their files unless another build has them too', async () => {
  const [alone, shared] = [await aFile(), await aFile()];
  const [icon, sharedIcon] = [await aFile(), await aFile()];
  const [first, second] = [await endedBuild(15), await endedBuild(15)];
  await anArtifact(first, alone.sha256, daysAgo(15), icon.sha256);
  await anArtifact(second, shared.sha256, daysAgo(15), sharedIcon.sha256);
  const young = await endedBuild(13);
  await anArtifact(young, shared.sha256, daysAgo(13), sharedIcon.sha256);
  await retention();
  expect([await isThere(alone), await isThere(shared)]).toEqual([false, true]);
  expect([await isThere(icon), await isThere(sharedIcon)]).toEqual([false, true]);
  expect(await db.select().from(artifacts).where(eq(artifacts.buildId, first))).toEqual([]);
});

test('a sealed log goes after 30 days, and whoever asks for it is told so', async () => {
  const [old, young] = [await endedBuild(31), await endedBuild(29)];
  for (const build of [old, young]) await aSealedLog(build);
  await retention();
  expect([await logObjects(old), await logObjects(young)]).toEqual([0, 2]);
  const answer = await call(`/api/builds/${old}/logs`, await submitKey());
  expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('deleted')]);
});

test('a build goes after 180 days with all that belongs to it', async () => {
  const file = await aFile();
  const buildId = await endedBuild(181);
  await aSealedLog(buildId);
  await anArtifact(buildId, file.sha256, daysAgo(1));
  await db.insert(events).values({ buildId, attempt: 1, type: 'claim', at: 1, detail: {} });
  await db.insert(buildInputs).values({ buildId, ...(await sealed(buildId)) });
  await db.insert(attemptEvidence).values({ buildId, attempt: 1, evidence: { collectedAt: '2026-01-01T00:00:00Z' } });
  await db.insert(idempotency).values(aName(buildId));
  await retention();
  for (const table of [buildInputs, attemptEvidence])
    expect(await db.select().from(table).where(eq(table.buildId, buildId))).toEqual([]);
  expect(await db.select().from(idempotency).where(eq(idempotency.target, buildId))).toEqual([]);
  expect(await errorOf(await call(`/api/builds/${buildId}`, await submitKey()))).toEqual([404, 'not_found']);
  expect([await logObjects(buildId), await isThere(file)]).toEqual([0, false]);
});

test('the former release removes builds of this one, and retention then removes the names that it left', async () => {
  const [old, young] = [await endedBuild(181), await endedBuild(181)];
  const [oldName, youngName] = [aName(old), { ...aName(young), createdAt: daysAgo(100) }];
  await db.insert(idempotency).values([oldName, youngName]);
  for (const buildId of [old, young]) {
    await db.insert(buildInputs).values({ buildId, ...(await sealed(buildId)) });
    await removedByFormerRelease(buildId);
    expect(await inputsOf(buildId)).toBeUndefined();
  }
  await retention();
  const left = await db
    .select()
    .from(idempotency)
    .where(inArray(idempotency.target, [old, young]));
  expect(left).toEqual([youngName]);
});

test('a file is spared for a day after the last question for it', async () => {
  const [asked, forgotten] = [await aFile(5), await aFile(5)];
  await touchHold(env, HOLDER, asked.sha256, daysAgo(0.9));
  await retention();
  expect([await isThere(asked), await isThere(forgotten)]).toEqual([true, false]);
});

test('a reference that races the collection wins, or is refused; never does a row lack its file', async () => {
  for (let round = 0; round < 10; round++) {
    const file = await aFile(5);
    const row = (await buildRow(await insertBuild({ attempt: 0 })))!;
    const ofFile = { sourceSha256: file.sha256, sourceBlob: file.sha256 };
    const submit = submitRow(env, { ...row, id: unique('bld'), ...ofFile }, null, null);
    const [submitted] = await Promise.all(round % 2 ? [submit, retain(env, NOW, KEPT)] : [submit, retention()]);
    await drainOutbox(env, NOW, { limit: 500 });
    expect(await isThere(file)).toBe(submitted.ok);
    if (!submitted.ok) expect(submitted.code).toBe('blob_not_stored');
  }
});

test('what was collected can be uploaded again, under another key, though the old object is deleted late', async () => {
  const bytes = bytesOf(unique('file'));
  const sha256 = await sha256Of(bytes);
  const put = (now: number) => storeBlob(env, HOLDER, sha256, bytes.byteLength, new Blob([bytes]).stream(), now);
  await put(daysAgo(5));
  const before = (await rowOf(sha256))!.r2Key;
  await retain(env, NOW, KEPT);
  await put(NOW);
  await drainOutbox(env, NOW, { limit: 500 });
  const { r2Key } = (await rowOf(sha256))!;
  expect(r2Key).not.toBe(before);
  expect([await env.BLOBS.head(before), (await env.BLOBS.head(r2Key))?.size]).toEqual([null, bytes.byteLength]);
});

test('an object that a crash left without its row goes, and no other', async () => {
  const orphan = 'blobs/00000000-left/by-a-crash';
  await env.BLOBS.put(orphan, 'x');
  const file = await aFile(0);
  const here = async () => [await env.BLOBS.head(orphan), await env.BLOBS.head(file.r2Key)].map((one) => one !== null);
  await removeOrphans(env, Date.now() - DAY_MS, '0');
  expect(await here()).toEqual([true, true]);
  await removeOrphans(env, Date.now() + DAY_MS, '0');
  expect(await here()).toEqual([false, true]);
});

test('a download while its file is collected is whole, or says that the file is gone', async () => {
  for (let round = 0; round < 10; round++) {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const sha256 = await sha256Of(bytes);
    await storeBlob(env, HOLDER, sha256, bytes.byteLength, new Blob([bytes]).stream(), daysAgo(5));
    const request = new Request('https://controller/');
    const download = async () => {
      const sent = await sendBlob(env, request, sha256, {});
      if (!(sent instanceof Response)) return sent.code;
      return sha256Of(new Uint8Array(await sent.arrayBuffer()));
    };
    const [first, second] = await Promise.all([download(), retention().then(download)]);
    expect([sha256, 'not_found']).toContain(first);
    expect(second).toBe('not_found');
  }
});

test('one run goes on until a portion comes back short, or D1 has taken all its statements', async () => {
  const endedBuilds = (count: number) => Promise.all(Array.from({ length: count }, () => endedBuild(200)));
  const left = async (ids: string[]) =>
    (await Promise.all(ids.map(buildRow))).filter((row) => row !== undefined).length;
  const run = async () => {
    const usage = begin('retention');
    // A twentieth of the portions: ten builds.
    await retain(withPlatformLimits(env, usage), NOW, KEPT, 0.05);
    expect(usage.statements).toBeLessThanOrEqual(STATEMENTS_MAX);
  };
  const some = await endedBuilds(25);
  await run();
  expect(await left(some)).toBe(0);
  const many = await endedBuilds(100);
  await run();
  expect(await left(many)).toBe(70);
  for (let runs = 1; runs < 4; runs++) await run();
  expect(await left(many)).toBe(0);
});

test('a kind that cannot be removed does not keep the others', async () => {
  const [buildId, file] = [await endedBuild(200), await aFile(5)];
  await env.DB.prepare(
    "CREATE TRIGGER refuse BEFORE DELETE ON builds BEGIN SELECT RAISE(ABORT, 'refused by a test'); END",
  ).run();
  await retention();
  await env.DB.prepare('DROP TRIGGER refuse').run();
  expect([(await buildRow(buildId)) !== undefined, await isThere(file)]).toEqual([true, false]);
});

test('what the objects of a removed build have stored is deleted, once no token of it is valid', async () => {
  const timeouts = { ...DEFAULT_TIMEOUTS, buildTimeoutMs: 10 * DAY_MS };
  const buildId = await endedBuild(181, { timeouts });
  const tokensEndAt = NOW + HOUR_MS;
  await db
    .update(attempts)
    .set({ claimedAt: tokensEndAt - timeouts.buildTimeoutMs - 65 * 60_000 })
    .where(eq(attempts.buildId, buildId));
  const [deadline, log] = [env.DEADLINES.getByName(buildId), logObject(env, buildId, 1)];
  await deadline.close(1);
  await log.append(0, bytesOf('a line'));
  await log.close(null, true);
  const stored = async () => [
    await runInDurableObject(deadline, (_, { storage }) => storage.kv.get('record')),
    await runInDurableObject(log, (_, { storage }) => storage.kv.get('closed')),
    await runInDurableObject(log, (_, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'chunks'").toArray(),
    ),
  ];
  await retention();
  expect(await stored()).not.toContain(undefined);
  await drainOutbox(env, tokensEndAt - 1, { limit: 500 });
  expect(await stored()).not.toContain(undefined);
  await drainOutbox(env, tokensEndAt, { limit: 500 });
  expect(await stored()).toEqual([undefined, undefined, []]);
  expect(await db.select().from(outbox).where(eq(outbox.buildId, buildId))).toEqual([]);
});

test('a build that was armed for a claim that was lost leaves nothing either', async () => {
  const buildId = await insertBuild({ status: 'cancelled', attempt: 0, endedAt: daysAgo(181) });
  const deadline = env.DEADLINES.getByName(buildId);
  await deadline.close(0);
  await retention();
  expect(await runInDurableObject(deadline, (_, { storage }) => storage.kv.get('record'))).toBeUndefined();
});

test('the cron does so once an hour, with the days of the deployment', async () => {
  const file = await aFile(5);
  const hour = Math.ceil(NOW / HOUR_MS) * HOUR_MS;
  await sweep(env, hour + 3 * 60_000);
  expect(await isThere(file)).toBe(true);
  await sweep(env, hour + 17 * 60_000);
  await sweep(env, hour + 18 * 60_000);
  expect(await isThere(file)).toBe(false);
  expect(await db.select().from(outbox).where(eq(outbox.r2Key, file.r2Key))).toEqual([]);
  const broken = { ...env, RETENTION_DAYS: { sources: 0 } } as unknown as Env;
  await expect(retain(broken, NOW)).rejects.toThrow('sources');
});
