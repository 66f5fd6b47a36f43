/** Tests that widely read rows stay small, whatever a build was given and its agent saw. */
import { env } from 'cloudflare:workers';
import { and, eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import {
  type Assignment,
  type BuildList,
  EVIDENCE_LOG_TAIL_MAX,
  EVIDENCE_OUTPUT_MAX,
  SECRET_FILE_MAX_BYTES,
  SECRET_FILES_MAX,
} from '#contract';
import { attemptEvidence, attempts, builds } from '../../../controller/schema/index.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { databaseFaults, withFaultyDatabase } from '../factories/faulty-database.ts';
import { asFormerRelease, removedByFormerRelease } from '../factories/former-release.ts';
import { call, db, insertAttempt, insertBuild, tokenFor, unique } from '../factories/rows.ts';
import { aBlob, aBuild, anAssignment, api, aWorker, beat, claim, report, show } from '../factories/scenarios.ts';

/** The limit of a row with short texts. A build with full inputs has 1.4 MB more. */
const SMALL_ROW_CHARS = 8_000;
/** So many builds with their inputs would have more than the 32 MiB that D1 answers. */
const LISTED = 30;

/** As much as one request holds: 1 MiB. */
const fullInputs = () => {
  const file = 'A'.repeat(Math.floor(Math.min(SECRET_FILE_MAX_BYTES, 720_000 / SECRET_FILES_MAX) / 3) * 4);
  return {
    env: { TOKEN: 'secret' },
    secretFiles: Object.fromEntries(Array.from({ length: SECRET_FILES_MAX }, (_, i) => [`file-${i}`, file])),
  };
};

const fullEvidence = () => ({
  collectedAt: '2026-01-01T00:00:00.000Z',
  vm: 'running' as const,
  runOutput: 'r'.repeat(EVIDENCE_OUTPUT_MAX),
  monitor: { alive: false, restarts: 1, log: 'm'.repeat(EVIDENCE_OUTPUT_MAX) },
  logTail: 'l'.repeat(EVIDENCE_LOG_TAIL_MAX),
});

const beatPath = ({ buildId, workerId }: Assignment) => `/api/builds/${buildId}/heartbeat?worker_id=${workerId}`;

/** The characters of the longest row of a table. */
async function longestRow(table: string): Promise<number> {
  const { results } = await env.DB.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>();
  const sum = results.map(({ name }) => `coalesce(length("${name}"), 0)`).join(' + ');
  const row = await env.DB.prepare(`SELECT max(${sum}) AS chars FROM "${table}"`).first<{ chars: number }>();
  return row!.chars;
}

test(`a list of ${LISTED} builds with full inputs answers, and their rows are small`, {
  timeout: 120_000,
}, async () => {
  const pool = unique('pool');
  const source = { sha256: await aBlob() };
  const inputs = fullInputs();
  for (let i = 0; i < LISTED; i++) {
    const request = { source, command: 'make', platform: 'ios', pool, ...inputs };
    expect((await api('POST', '/api/builds', request)).status).toBe(201);
  }
  expect(await longestRow('builds')).toBeLessThan(SMALL_ROW_CHARS);
  const listed = await api<BuildList>('GET', `/api/builds?pool=${pool}&limit=${LISTED}`);
  expect([listed.status, listed.body.builds?.length]).toEqual([200, LISTED]);
});

/** The statements of D1 that read a large column while `work` runs. */
async function largeReads(work: () => Promise<unknown>): Promise<string[]> {
  const seen: string[] = [];
  databaseFaults.decide = (statements) => {
    seen.push(...statements.filter((sql) => /\b(select|returning)\b.*"(inputs|sealed|evidence)"/is.test(sql)));
    return undefined;
  };
  await work().finally(() => {
    databaseFaults.decide = null;
  });
  return seen;
}

// Rows of the former release are still large, so it is not enough that new ones are small.
test('only who shows inputs or evidence reads them, also where the former release left them', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const buildId = await aBuild({ pool, env: { TOKEN: 'secret' }, maxAttempts: 2 });
  let assignment: Assignment;
  const get = (path: string, key?: string) => api('GET', path, undefined, key);
  const calls: [what: string, reads: number, call: () => Promise<unknown>][] = [
    ['submit', 0, () => aBuild({ pool, priority: -1, env: { TOKEN: 'secret' } })],
    ['claim', 0, async () => void (assignment = (await claim(worker)).body.assignment!)],
    ['beat', 0, () => beat(assignment, 'vm')],
    ["beat with the worker's key", 0, () => api('POST', beatPath(assignment), { progress: 5 }, worker.key)],
    ['source', 0, () => call(`/api/builds/${buildId}/source`, assignment.tokens.run)],
    ['inputs', 1, () => get(`/api/builds/${buildId}/inputs`, assignment.tokens.run)],
    ['start', 0, () => report(assignment, { type: 'start' })],
    ['held attempts', 0, () => get(`/api/workers/${worker.id}/attempts`, worker.key)],
    ['workers', 0, () => get('/api/workers')],
    ['fail', 0, () => report(assignment, { type: 'fail', verdict: 'vm_exited', evidence: fullEvidence() })],
    ['list', 0, () => get(`/api/builds?pool=${pool}&live=1`)],
    ['log', 0, () => get(`/api/builds/${buildId}/logs`)],
    ['durations', 0, () => get(`/api/workers/${worker.id}/durations`, worker.key)],
    ['cancel', 0, () => api('POST', `/api/builds/${buildId}/cancel`)],
    ['retry', 1, () => api('POST', `/api/builds/${buildId}/retry`)],
    // One statement for each place in which evidence may be.
    ['detail', 2, () => get(`/api/builds/${buildId}`)],
    ['evidence', 2, () => report(assignment, { type: 'evidence', evidence: fullEvidence() })],
    ['sweep', 0, () => sweep(withFaultyDatabase(env), Date.now())],
  ];
  for (const [what, reads, call] of calls) {
    const found = await largeReads(call);
    expect([what, found.length], found.join('\n')).toEqual([what, reads]);
  }
});

test('evidence is shown with its attempt, and the row of the attempt stays small', async () => {
  const given = fullEvidence();
  const first = await anAssignment();
  await report(first.assignment, { type: 'fail', verdict: 'vm_exited', evidence: given });
  const second = await anAssignment();
  await api('POST', `/api/builds/${second.assignment.buildId}/cancel`);
  expect((await report(second.assignment, { type: 'evidence', evidence: given })).status).toBe(200);
  for (const { assignment } of [first, second])
    expect((await show(assignment.buildId)).attempts).toMatchObject([{ evidence: given }]);
  const ours = await db.select().from(attempts).where(eq(attempts.buildId, first.assignment.buildId));
  expect(JSON.stringify(ours).length).toBeLessThan(SMALL_ROW_CHARS);
});

test('evidence of the former release is shown, and it is the only one of its attempt', async () => {
  const { assignment } = await anAssignment();
  await report(assignment, { type: 'fail', verdict: 'vm_exited' });
  const given = fullEvidence();
  const here = and(eq(attempts.buildId, assignment.buildId), eq(attempts.attempt, 1));
  await db.update(attempts).set({ evidence: given }).where(here);
  expect((await show(assignment.buildId)).attempts).toMatchObject([{ evidence: given }]);
  expect((await report(assignment, { type: 'evidence', evidence: given })).status).toBe(200);
  expect((await report(assignment, { type: 'evidence', evidence: { ...given, vm: 'stopped' } })).status).toBe(410);
  expect(await db.select().from(attemptEvidence).where(eq(attemptEvidence.buildId, assignment.buildId))).toEqual([]);
});

test('an attempt gets the inputs that the former release sealed', async () => {
  const { assignment } = await anAssignment({ env: { TOKEN: 'secret' } });
  await asFormerRelease(assignment.buildId, { env: { TOKEN: 'older secret' } });
  const inputs = await api('GET', `/api/builds/${assignment.buildId}/inputs`, undefined, assignment.tokens.run);
  expect(inputs).toMatchObject({ status: 200, body: { env: { TOKEN: 'older secret' } } });
});

test('the former release finds no inputs of this one that it could open, and never none', async () => {
  const [given, bare] = [await aBuild({ env: { TOKEN: 'secret' } }), await aBuild()];
  const inputsOf = async (id: string) => (await db.select().from(builds).where(eq(builds.id, id)).get())!.inputs;
  // The former release fails for each text that does not begin with `v1.`, and takes NULL for no variables.
  expect(await inputsOf(given)).toMatch(/^(?!v1\.)./);
  expect(await inputsOf(bare)).toBeNull();
});

test('the former release can remove a build of this one, and nothing private of it stays', async () => {
  const { assignment } = await anAssignment({ env: { TOKEN: 'secret' } });
  await report(assignment, { type: 'fail', verdict: 'vm_exited', evidence: fullEvidence() });
  await removedByFormerRelease(assignment.buildId);
  for (const table of ['build_inputs', 'attempt_evidence']) {
    const left = env.DB.prepare(`SELECT 1 FROM ${table} WHERE build_id = ?1`).bind(assignment.buildId);
    expect(await left.all()).toMatchObject({ results: [] });
  }
});

test('an attempt whose inputs are gone is refused, and does not build without them', async () => {
  const buildId = await insertBuild({ hasInputs: true });
  await insertAttempt(buildId, 1);
  const answer = await call(`/api/builds/${buildId}/inputs`, await tokenFor(buildId));
  // An agent takes 409 and 410 for the end of its attempt, and would report nothing.
  expect([answer.status, await answer.json()]).toEqual([
    422,
    { error: { code: 'inputs_gone', message: expect.stringContaining(buildId) } },
  ]);
});
