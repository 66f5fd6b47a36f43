/**
 * Asks for a retry of each kind of build, after each kind of loss, with each kind of name. No retry may
 * silently lose anything that its build was given.
 */
import { env } from 'cloudflare:workers';
import { eq, inArray } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { DAY_MS } from '#contract';
import type { RetentionDays } from '../../../controller/files/retention-days.ts';
import { blobHolds, blobs, buildInputs, builds } from '../../../controller/schema/index.ts';
import { sealInputs } from '../../../controller/secrets/inputs.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { appWith } from '../factories/app-with.ts';
import { asFormerRelease, releasedByFormerRelease } from '../factories/former-release.ts';
import { call, db, unique } from '../factories/rows.ts';
import {
  aBlob,
  aBuild,
  api,
  aWorker,
  claim,
  report,
  sayStatus,
  show,
  stateOf,
  workersIn,
} from '../factories/scenarios.ts';

const KEPT: RetentionDays = { logs: 30, artifacts: 14, sources: 3, builds: 180 };
const SECRET = { env: { TOKEN: 'secret' }, secretFiles: { 'key.p8': btoa('a key') } };

/** The inputs of the build, and the release that made it. */
const GIVEN = {
  'given nothing': { inputs: null, former: false },
  'given inputs': { inputs: SECRET, former: false },
  'given nothing, made by the former release': { inputs: null, former: true },
  'given inputs, made by the former release': { inputs: SECRET, former: true },
} as const;
type Given = keyof typeof GIVEN;

/** The losses of the build since then. */
const LOSSES = {
  nothing: {},
  'retention, and another build holds the source': { retained: 'by this release', held: true },
  'retention, and nobody holds the source': { retained: 'by this release', held: false },
  'retention of the former release, and another build holds the source': { retained: 'by the former', held: true },
  'another INPUTS_KEY': { otherKey: true },
} as const satisfies Record<string, Loss>;
interface Loss {
  retained?: 'by this release' | 'by the former';
  held?: boolean;
  otherKey?: boolean;
}

/** The name of the retry. */
const NAMES = ['none', 'new', 'of a retry before the loss', 'of another request'] as const;
type Name = (typeof NAMES)[number];

/** The answer to a retry: a new build, the build of the first retry, or a refusal. */
function expected(given: Given, loss: Loss, name: Name): string {
  if (name === 'of a retry before the loss') return '200 the same';
  if (name === 'of another request') return '409 idempotency_mismatch';
  const { inputs, former } = GIVEN[given];
  // The former release deleted source and inputs at once, and did not note whether there were inputs.
  const unknown = former && loss.retained === 'by the former';
  // The former release sealed inputs without the name of a key, so nobody can tell a missing key from an
  // altered row.
  if (inputs && loss.otherKey) return former ? '422 inputs_gone' : '503 inputs_key_missing';
  if (unknown || (inputs && loss.retained)) {
    const kept = inputs && !former && loss.retained === 'by the former';
    return kept ? '201 new' : '422 inputs_gone';
  }
  return loss.retained && !loss.held ? '409 blob_not_stored' : '201 new';
}

async function anEndedBuild(given: Given, sha256: string, pool: string): Promise<string> {
  const { inputs, former } = GIVEN[given];
  const buildId = await aBuild({ ...inputs, source: { sha256 }, pool });
  await api('POST', `/api/builds/${buildId}/cancel`);
  if (former) await asFormerRelease(buildId, inputs);
  return buildId;
}

async function lose(buildId: string, sha256: string, { retained, held }: Loss): Promise<void> {
  if (!retained) return;
  if (held) await aBuild({ source: { sha256 }, pool: unique('pool') });
  if (retained === 'by the former') return releasedByFormerRelease(buildId);
  const ended = Date.now() - 4 * DAY_MS;
  await db.update(builds).set({ endedAt: ended }).where(eq(builds.id, buildId));
  await db.update(blobs).set({ touchedAt: ended }).where(eq(blobs.sha256, sha256));
  await db.update(blobHolds).set({ touchedAt: ended }).where(eq(blobHolds.sha256, sha256));
  await retain(env, Date.now(), KEPT);
}

/** Asks with the key of the deployment, or with the one that it has now. */
async function retry(buildId: string, body: object | null, { otherKey }: Loss) {
  const answer = await appWith().request(
    `/api/builds/${buildId}/retry`,
    {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${env.ADMIN_KEY}`,
        ...(body && { 'Content-Type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    },
    otherKey ? { ...env, INPUTS_KEY: 'another-key-0123456789abcdef0123456789abcdef' } : env,
  );
  return { status: answer.status, body: await answer.json<{ id?: string; error?: { code: string } }>() };
}

for (const given of Object.keys(GIVEN) as Given[])
  for (const [lost, loss] of Object.entries(LOSSES))
    for (const name of NAMES)
      test(`${given} × ${lost} × name: ${name} → ${expected(given, loss, name)}`, async () => {
        const pool = unique('pool');
        const sha256 = await aBlob(unique('source'));
        const buildId = await anEndedBuild(given, sha256, pool);
        const idempotencyKey = unique('name');
        let first: string | undefined;
        if (name === 'of a retry before the loss') {
          first = (await retry(buildId, { idempotencyKey }, {})).body.id;
          await api('POST', `/api/builds/${first}/cancel`);
        }
        if (name === 'of another request')
          await aBuild({ source: { sha256: await aBlob() }, pool: unique('pool'), idempotencyKey });
        await lose(buildId, sha256, loss);
        const { status, body } = await retry(buildId, name === 'none' ? null : { idempotencyKey }, loss);
        const what = body.error?.code ?? (body.id === first ? 'the same' : 'new');
        expect(`${status} ${what}`).toBe(expected(given, loss, name));
        if (status !== 201) return;
        // A new build has all that the old one was given.
        const [worker] = await workersIn(pool, 1);
        const { assignment } = (await claim(worker!)).body;
        expect(assignment).toMatchObject({ buildId: body.id, source: { sha256 } });
        const inputs = await api('GET', `/api/builds/${body.id}/inputs`, undefined, assignment!.tokens.run);
        expect(inputs).toEqual({ status: 200, body: GIVEN[given].inputs ?? { env: {} } });
      });

test('a retry has every field of the old build that a submitter can set', async () => {
  const request = {
    ...{ source: { sha256: await aBlob(unique('source')) }, platform: 'android' as const },
    // These fields replace the command that a build of these tests has.
    ...{ command: undefined, profile: 'production' },
    ...{ artifacts: [{ glob: 'out/*.aab', required: false, onFailure: true }], pool: unique('pool') },
    ...{ timeouts: { noOutputTimeoutMs: 77_000, queueTimeoutMs: 88_000 }, project: unique('project') },
    ...{ labels: { branch: 'main' }, priority: 7, maxAttempts: 3, ...SECRET },
  };
  const old = await aBuild(request);
  await api('POST', `/api/builds/${old}/cancel`);
  const { body } = await retry(old, null, {});
  const rows = await db
    .select()
    .from(builds)
    .where(inArray(builds.id, [old, body.id!]));
  const [before, after] = [rows.find(({ id }) => id === old)!, rows.find(({ id }) => id !== old)!];
  /** The columns that a build does not pass on: it was queued, claimed and ended itself. */
  const OWN = [
    ...['id', 'status', 'attempt', 'transitionId', 'verdict', 'verdictStep', 'verdictMessage', 'queuedAt'],
    ...['notBefore', 'avoidWorkerId', 'avoidUntil', 'retryOf', 'idempotencyKey', 'requestHash', 'createdByKey'],
    ...['createdAt', 'startedAt', 'endedAt', 'checkedAt'],
  ];
  const passedOn = (row: object) => Object.fromEntries(Object.entries(row).filter(([name]) => !OWN.includes(name)));
  expect(passedOn(after)).toEqual(passedOn(before));
  expect(after.hasInputs).toBe(true);
  expect((await show(body.id!)).retryOf).toBe(old);
});

test('of many retries at once with one name one makes a build; without a name each does', async () => {
  const pool = unique('pool');
  const buildId = await anEndedBuild('given inputs', await aBlob(unique('source')), pool);
  const ask = (body: object | null) => Promise.all(Array.from({ length: 8 }, () => retry(buildId, body, {})));
  const named = await ask({ idempotencyKey: unique('name') });
  expect(named.map(({ status }) => status).sort()).toEqual([...Array(7).fill(200), 201]);
  expect(new Set(named.map(({ body }) => body.id)).size).toBe(1);
  expect(new Set((await ask(null)).map(({ body }) => body.id)).size).toBe(8);
});

test('a retry needs no body, and takes one only in the documented form', async () => {
  const buildId = await anEndedBuild('given nothing', await aBlob(unique('source')), unique('pool'));
  const path = `/api/builds/${buildId}/retry`;
  expect((await api('POST', path)).status).toBe(201);
  expect((await api('POST', path, {})).status).toBe(201);
  for (const body of [{ idempotencyKey: '' }, { idempotencyKey: 7 }, { idempotencyKey: 'x'.repeat(129) }, [], null])
    expect(await api('POST', path, body)).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } });
});

test('a build whose inputs were altered ends as its user’s: no other attempt, no loss of its worker', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await sayStatus(worker);
  for (let build = 1; build <= 3; build++) {
    await aBuild({ pool, maxAttempts: 3, env: { TOKEN: 'secret' } });
    const { assignment } = (await claim(worker)).body;
    const { buildId, tokens } = assignment!;
    const { sealed } = await sealInputs(env, 'b_another', { env: {} });
    await db.update(buildInputs).set({ sealed }).where(eq(buildInputs.buildId, buildId));
    const answer = await call(`/api/builds/${buildId}/inputs`, tokens.run);
    const { error } = await answer.json<{ error: { code: string; message: string } }>();
    expect([answer.status, error.code]).toEqual([422, 'inputs_gone']);
    await report(assignment!, { type: 'fail', verdict: 'inputs_gone', step: 'inputs', message: error.message });
    const { status, attempt, verdict, cause } = await show(buildId);
    expect([status, attempt, verdict?.whose, cause]).toEqual(['failed', 1, 'user', null]);
    expect(verdict?.advice).toMatch(/^Submit the build anew/);
  }
  expect((await stateOf(worker)).state).toBe('idle');
});
