/**
 * Lets D1 fail at each statement and at each writing call in turn, before or after it has done its work. A
 * client that asks again succeeds, and the build ends as it would have ended.
 *
 * Each call fails in one of the two ways, and a trigger refuses from the first step on that no other story
 * has. `npm run test:database` does all of it.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import type { DeadlineRecord } from '../../../controller/attempts/silence.ts';
import { type DatabaseFault, databaseFaults } from '../factories/faulty-database.ts';
import { aLife, LIVES, type Life, type LifeStory, rowsOf, type Step, whatIs } from '../factories/lives.ts';

const TRIES_MAX = 6;

/** Asks until answered, as every client does. `refused` looks at what each 5xx left behind. */
async function tell(step: Step, life: Life, refused?: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const { status } = await step(life);
    if (status < 300) return;
    if (status < 500) throw new Error(`answered ${status}`);
    if (tries === TRIES_MAX) throw new Error(`no answer in ${TRIES_MAX} tries`);
    await refused?.();
  }
}

/** Checks that the build ended as it should, once, and that its deadline has ended. */
async function endedAsTold({ buildId }: Life, story: LifeStory): Promise<void> {
  const { build, attempts, events, artifacts, inputs, evidence } = await rowsOf(buildId);
  expect(events.map(({ type }) => type)).toEqual(story.events);
  expect(build).toMatchObject({ status: story.status, verdict: story.verdict });
  expect(attempts.every(({ endedAt }) => endedAt !== null)).toBe(true);
  expect(attempts).toHaveLength(story.events.filter((type) => type === 'claim').length);
  if (story.causes) expect(attempts.map(({ cause }) => cause)).toEqual(story.causes);
  expect(artifacts).toHaveLength(story.status === 'succeeded' ? 1 : 0);
  expect(inputs).toHaveLength(1);
  expect(evidence).toHaveLength(story.evidence ?? 0);
  if (attempts.length === 0) return;
  const [record, alarm] = await runInDurableObject(env.DEADLINES.getByName(buildId), async (_object, state) => [
    state.storage.kv.get<DeadlineRecord>('record'),
    await state.storage.getAlarm(),
  ]);
  expect([record, alarm]).toEqual([{ state: 'ended', attempt: build!.attempt }, null]);
}

/** Runs the story while the writing call of that number fails. Returns how many writing calls there were. */
async function live(story: LifeStory, failing: { call: number; how: DatabaseFault }): Promise<number> {
  const life = await aLife();
  let calls = 0;
  let counting = story.from === undefined;
  databaseFaults.decide = (statements) => {
    if (!counting) return undefined;
    // A failed read is like a request that is repeated, or like a write whose answer is lost.
    if (statements.every((sql) => sql.startsWith('select'))) return undefined;
    return ++calls === failing.call ? failing.how : undefined;
  };
  try {
    for (const step of story.steps) {
      counting ||= step === story.from;
      await tell(step, life);
    }
  } finally {
    databaseFaults.decide = null;
  }
  await endedAsTold(life, story);
  return calls;
}

const FAULTS: readonly DatabaseFault[] = ['refused', 'answer lost'];
const isTried = (call: number, how: DatabaseFault): boolean =>
  env.DATABASE_FAULTS === 'all' || call % FAULTS.length === FAULTS.indexOf(how);

for (const story of LIVES)
  for (const how of FAULTS)
    test(`a build that ${story.name} does so with each writing call of D1 in turn ${how}`, {
      timeout: 300_000,
    }, async () => {
      const calls = await live(story, { call: 0, how });
      expect(calls).toBeGreaterThan(0);
      for (let call = 1; call <= calls; call++)
        if (isTried(call, how))
          await live(story, { call, how }).catch((error: Error) => {
            throw new Error(`call ${call} of ${calls}: ${error.message}`, { cause: error });
          });
    });

/** Every table that the life of a build writes. */
const STATEMENTS: [operation: 'INSERT' | 'UPDATE' | 'DELETE', table: string][] = [
  ['INSERT', 'blobs'],
  ['INSERT', 'blob_holds'],
  ['INSERT', 'builds'],
  ['INSERT', 'build_inputs'],
  ['INSERT', 'idempotency'],
  ['UPDATE', 'builds'],
  ['INSERT', 'attempts'],
  ['UPDATE', 'attempts'],
  ['INSERT', 'attempt_evidence'],
  ['INSERT', 'events'],
  ['INSERT', 'artifacts'],
  ['INSERT', 'outbox'],
  ['DELETE', 'outbox'],
  ['UPDATE', 'workers'],
];

/** The statements that each step of each story sends. A trigger on something else refuses nothing there. */
const sent = new Map<LifeStory, string[][]>();
beforeAll(async () => {
  for (const story of LIVES) {
    const life = await aLife();
    const steps: string[][] = [];
    for (const step of story.steps) {
      const seen: string[] = [];
      databaseFaults.decide = (statements) => void seen.push(...statements);
      try {
        await tell(step, life);
      } finally {
        databaseFaults.decide = null;
      }
      steps.push(seen);
    }
    sent.set(story, steps);
  }
}, 120_000);

/** An insert of a row that is there may become an update. */
const writes = (sql: string, operation: string, table: string): boolean =>
  new RegExp(`\\b${operation}( or \\w+)?( into| from)? "?${table}\\b`, 'i').test(sql) ||
  (operation === 'UPDATE' && / on conflict .* do update /i.test(sql) && writes(sql, 'INSERT', table));

/** The steps at which the trigger is there: those that send such a statement, each in one story. */
function stepsToRefuse(story: LifeStory, operation: string, table: string): boolean[] {
  const first = env.DATABASE_FAULTS === 'all' ? 0 : story.steps.indexOf(story.from ?? story.steps[0]!);
  return sent
    .get(story)!
    .map((statements, step) => step >= first && statements.some((sql) => writes(sql, operation, table)));
}

for (const [operation, table] of STATEMENTS)
  test(`a trigger that refuses each ${operation} on ${table} stops a step whole or not at all`, {
    timeout: 120_000,
  }, async () => {
    let refusals = 0;
    const refuse = () =>
      env.DB.prepare(
        `CREATE TRIGGER IF NOT EXISTS refuse BEFORE ${operation} ON ${table} BEGIN SELECT RAISE(ABORT, 'refused by a test'); END`,
      ).run();
    const allow = () => env.DB.prepare('DROP TRIGGER IF EXISTS refuse').run();
    for (const story of LIVES) {
      const refusing = stepsToRefuse(story, operation, table);
      if (!refusing.includes(true)) continue;
      const life = await aLife();
      for (const [index, step] of story.steps.entries()) {
        if (!refusing[index]) {
          await tell(step, life);
          continue;
        }
        const before = JSON.stringify(await whatIs(life.buildId));
        try {
          await refuse();
          await tell(step, life, async () => {
            refusals++;
            expect(JSON.stringify(await whatIs(life.buildId))).toBe(before);
            await allow();
          });
        } finally {
          await allow();
        }
      }
      await endedAsTold(life, story);
    }
    expect(refusals).toBeGreaterThan(0);
  });
