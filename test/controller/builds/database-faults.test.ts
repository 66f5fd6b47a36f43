/**
 * Lets D1 fail at each statement and at each writing call in turn, before or after it has done its work. A
 * client that asks again succeeds, and the build ends as it would have ended.
 *
 * `npm test` tries a sample. Calls of the same SQL are tried once in all stories together, by turns in one
 * of the two ways, and one of them at each step of a life. A trigger refuses each SQL text at the first step
 * that sends it. `npm run test:database` tries each call of each story in both ways, each in a life of its
 * own, and refuses at each step.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import type { DeadlineRecord } from '../../../controller/attempts/silence.ts';
import { outbox } from '../../../controller/schema/index.ts';
import { type DatabaseFault, databaseFaults } from '../factories/faulty-database.ts';
import { aLife, LIVES, type Life, type LifeStory, rowsOf, type Step, whatIs } from '../factories/lives.ts';
import { db } from '../factories/rows.ts';

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

type Call = readonly string[];
// A failed read is like a request that is repeated, or like a write whose answer is lost.
const isWriting = (statements: Call): boolean => !statements.every((sql) => sql.startsWith('select'));

/** Calls `seen` with each call of D1 of the story, which decides whether it fails. */
async function live(
  story: LifeStory,
  seen: (statements: Call, step: number) => DatabaseFault | undefined,
): Promise<void> {
  const life = await aLife();
  try {
    for (const [index, step] of story.steps.entries()) {
      databaseFaults.decide = (statements) => seen(statements, index);
      await tell(step, life);
    }
  } finally {
    databaseFaults.decide = null;
  }
  await endedAsTold(life, story);
}

const firstStepOf = ({ steps, from }: LifeStory): number => (from ? steps.indexOf(from) : 0);

/** The calls that each step of each story sends if nothing fails. */
const sent = new Map<LifeStory, Call[][]>();
/** The writing calls of each story from its first own step on, and which of them the sample has. */
const writingCalls = new Map<LifeStory, { text: string; inSample: DatabaseFault | null }[]>();
beforeAll(async () => {
  const known = new Set<string>();
  for (const story of LIVES) {
    const calls: Call[][] = story.steps.map(() => []);
    await live(story, (statements, step) => void calls[step]!.push(statements));
    sent.set(story, calls);
    const writing = calls.slice(firstStepOf(story)).flat().filter(isWriting);
    writingCalls.set(
      story,
      writing.map((statements) => {
        const text = statements.join('; ');
        if (known.has(text)) return { text, inSample: null };
        known.add(text);
        return { text, inSample: FAULTS[known.size % FAULTS.length]! };
      }),
    );
  }
}, 120_000);

const FAULTS: readonly DatabaseFault[] = ['refused', 'answer lost'];

for (const story of LIVES)
  for (const how of FAULTS)
    test(`a build that ${story.name} does so with each writing call of D1 in turn ${how}`, {
      timeout: 300_000,
    }, async () => {
      const calls = writingCalls.get(story)!;
      expect(calls.length).toBeGreaterThan(0);
      if (env.DATABASE_FAULTS !== 'all') return failSample(story, how);
      for (const index of calls.keys()) {
        let before = -1;
        await live(story, (statements, step) => {
          if (step < firstStepOf(story) || !isWriting(statements)) return undefined;
          return ++before === index ? how : undefined;
        }).catch((error: Error) => {
          throw new Error(`call ${index + 1} of ${calls.length}: ${error.message}`, { cause: error });
        });
      }
    });

/** Lets each call of the sample fail, in as few lives as there are calls of it at the same step. */
async function failSample(story: LifeStory, how: DatabaseFault): Promise<void> {
  const left = new Set(writingCalls.get(story)!.flatMap(({ text, inSample }) => (inSample === how ? [text] : [])));
  while (left.size > 0) {
    const failed: string[] = [];
    let last = -1;
    await live(story, (statements, step) => {
      const text = statements.join('; ');
      if (step < firstStepOf(story) || step === last || !left.delete(text)) return undefined;
      failed.push(text);
      last = step;
      return how;
    }).catch((error: Error) => {
      throw new Error(`with these calls ${how}: ${failed.join('\n')}: ${error.message}`, { cause: error });
    });
    expect(failed, `the life no longer makes the calls ${[...left].join('\n')}`).not.toEqual([]);
  }
}

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

/** An insert of a row that is there may become an update. */
const writes = (sql: string, operation: string, table: string): boolean =>
  new RegExp(`\\b${operation}( or \\w+)?( into| from)? "?${table}\\b`, 'i').test(sql) ||
  (operation === 'UPDATE' && / on conflict .* do update /i.test(sql) && writes(sql, 'INSERT', table));

/** For each step, whether the trigger is there. It is there only if the step sends such a statement. */
function stepsToRefuse(story: LifeStory, operation: string, table: string, known: Set<string>): boolean[] {
  return sent.get(story)!.map((calls) => {
    const refused = calls.flat().filter((sql) => writes(sql, operation, table));
    const isNew = refused.some((sql) => !known.has(sql));
    for (const sql of refused) known.add(sql);
    return env.DATABASE_FAULTS === 'all' ? refused.length > 0 : isNew;
  });
}

for (const [operation, table] of STATEMENTS)
  test(`a trigger that refuses each ${operation} on ${table} stops a step whole or not at all`, {
    timeout: 120_000,
  }, async () => {
    let refusals = 0;
    const known = new Set<string>();
    const refuse = () =>
      env.DB.prepare(
        `CREATE TRIGGER IF NOT EXISTS refuse BEFORE ${operation} ON ${table} BEGIN SELECT RAISE(ABORT, 'refused by a test'); END`,
      ).run();
    const allow = () => env.DB.prepare('DROP TRIGGER IF EXISTS refuse').run();
    // Background work may end at any step. So the trigger is there at the last step of each story.
    const endsWork = operation === 'DELETE' && table === 'outbox';
    for (const story of LIVES) {
      const refusing = endsWork
        ? story.steps.map((step) => step === story.steps.at(-1))
        : stepsToRefuse(story, operation, table, known);
      if (!refusing.includes(true)) continue;
      const life = await aLife();
      for (const [index, step] of story.steps.entries()) {
        if (!refusing[index]) {
          await tell(step, life);
          continue;
        }
        if (endsWork)
          await db.insert(outbox).values({ kind: 'delete_object', buildId: life.buildId, attempt: 0, dueAt: 0 });
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
