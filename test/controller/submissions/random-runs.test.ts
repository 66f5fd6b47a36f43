/**
 * Submits to both stores with faults at random, through the object of each, D1, R2 and the stand-ins over
 * HTTP: lost answers, cut connections, 429, 500, slow chunks, expired tokens, D1 that fails, cancellations,
 * new and revoked keys, retention. Processes die before, in and after each step. At its end, a submission
 * must say what the store has.
 *
 * It runs a few. `npm run test:submissions` runs 1,000. SUBMISSION_RUNS and SEED in the environment run
 * others.
 */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { afterEach, expect, test, vi } from 'vitest';
import type { Store } from '#contract';
import * as schema from '../../../controller/schema/index.ts';
import type { StoreSteps } from '../../../controller/stores/step.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { randomFrom } from '../../set-up/stores/faults.ts';
import { databaseFaults } from '../factories/faulty-database.ts';
import { call, db, HOUR_MS } from '../factories/rows.ts';
import { until } from '../factories/scenarios.ts';
import { stepsOfTests } from '../factories/steps-of-tests.ts';
import { aSubmission, fire, rowOf, stateOf, timelineOf, uploadOf } from '../factories/submissions.ts';
import { STORE_KEY } from '../stores/submitting.ts';
import { deleteStoreKey, type InStore, revokeKeyOf, STORES_OF_RUNS } from './random-stores.ts';

afterEach(() => {
  stepsOfTests.use = null;
  stepsOfTests.addresses = null;
  databaseFaults.decide = null;
  vi.restoreAllMocks();
});

const DAY_MS = 24 * HOUR_MS;
/** The limit of one run. */
const RUN_MAX_MS = 60_000;

// ── Processes that die ─────────────────────────────────────────────────────────────────────────────────────

/** The point at which the process dies next. A number: at this request of the step, answered or not. */
type Death = 'before the step' | 'after the step' | { request: number; answered: boolean };

const death: { at: Death | null; died: boolean; inStep: boolean } = { at: null, died: false, inStep: false };

function die(): Promise<never> {
  death.at = null;
  death.died = true;
  return new Promise<never>(() => {});
}

/** The steps of the store, in a process that may die. */
const mortal = (store: StoreSteps<never>): StoreSteps<never> => ({
  ...store,
  steps: Object.fromEntries(
    Object.entries(store.steps).map(([name, step]) => [
      name,
      {
        ...step,
        run: async (context, data) => {
          if (death.at === 'before the step') return die();
          death.inStep = true;
          const result = await step.run(context, data).finally(() => {
            death.inStep = false;
          });
          return death.at === 'after the step' ? die() : result;
        },
      } satisfies StoreSteps<never>['steps'][string],
    ]),
  ),
});

function letRequestsDie(): void {
  const real = globalThis.fetch;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (...given) => {
    const { at, inStep } = death;
    if (!inStep || at === null || typeof at === 'string' || String(given[0]).endsWith('/_control'))
      return real(...given);
    if (at.request > 0) {
      at.request -= 1;
      return real(...given);
    }
    death.at = null;
    if (!at.answered) return die();
    await real(...given).catch(() => {});
    return die();
  });
}

/** The process with the object ends. Its alarm and what it has stored stay. */
const killObject = (id: string): Promise<void> =>
  runInDurableObject(uploadOf(id), (_, state) => state.abort('a test lets the process die')).catch(() => {});

// ── Time ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Lets time pass for one submission: moves its stored times back. The stores' clocks stay. */
async function pass(id: string, ms: number): Promise<void> {
  if (ms <= 0) return;
  await runInDurableObject(uploadOf(id), (_, { storage }) => {
    const state = storage.kv.get<NonNullable<Awaited<ReturnType<typeof stateOf>>>>('record');
    if (!state) return;
    const { processingBeganAt, plain } = state;
    storage.kv.put('record', {
      ...state,
      ...{ stepBeganAt: state.stepBeganAt - ms, alarmAt: state.alarmAt - ms },
      processingBeganAt: processingBeganAt === null ? null : processingBeganAt - ms,
      plain: typeof plain.notBefore === 'number' ? { ...plain, notBefore: plain.notBefore - ms } : plain,
    });
  });
  const { createdAt, endsBy } = await rowOf(id);
  await db
    .update(schema.submissions)
    .set({ createdAt: createdAt - ms, endsBy: endsBy - ms })
    .where(eq(schema.submissions.id, id));
}

// ── One run ────────────────────────────────────────────────────────────────────────────────────────────────

/** The events of a submission that may explain its end. */
interface Happened {
  /** The store no longer takes the key. */
  keyLost: boolean;
  keyDeleted: boolean;
  rightLost: boolean;
  fileLost: boolean;
  /** The store does not answer as it should until the end. */
  storeLost: boolean;
  /** The API has confirmed the cancellation. */
  cancelled: boolean;
  events: string[];
}

const CALM = 0;
const SHARES = [CALM, 0.1, 0.25, 0.4];
const ODD_MAX = 6;

class Run {
  readonly id: string;
  readonly store: Store;
  readonly inStore: InStore;
  readonly random: () => number;
  readonly happened: Happened;
  #cancelling: Promise<void> | null = null;

  constructor(id: string, store: Store, inStore: InStore, random: () => number) {
    this.id = id;
    this.store = store;
    this.inStore = inStore;
    this.random = random;
    this.happened = {
      ...{ keyLost: false, keyDeleted: false, rightLost: false, fileLost: false, storeLost: false, cancelled: false },
      events: [],
    };
  }

  #chance(share: number): boolean {
    return this.random() < share;
  }

  #pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.random() * all.length)]!;
  }

  /** Runs alarm after alarm, with random events between and in them, until the submission has ended. */
  async toItsEnd() {
    const reaper = this.#reaper();
    try {
      return await this.#toItsEnd();
    } finally {
      clearInterval(reaper);
      Object.assign(death, { at: null, died: false, inStep: false });
      databaseFaults.decide = null;
    }
  }

  async #toItsEnd() {
    const { inStore, id } = this;
    const doomed = this.#chance(0.08);
    await inStore.unrest(Math.floor(this.random() * 2 ** 31), doomed ? 0.9 : this.#pick(SHARES));
    this.happened.storeLost = doomed;
    const databaseShare = this.#pick([0, 0, 0.05]);
    const { random } = this;
    databaseFaults.decide = () => {
      if (databaseShare === 0 || random() >= databaseShare) return undefined;
      return random() < 0.5 ? 'refused' : 'answer lost';
    };
    const until = Date.now() + RUN_MAX_MS;
    let odd = 0;
    await this.#may(uploadOf(id).begin());
    for (let alarms = 0; ; alarms++) {
      const row = await rowOf(id);
      const state = await stateOf(id);
      if (row.endedAt !== null && (!state || (state.ended?.cleanUp === 'none' && !state.pending))) break;
      // D1 failed when the submission was to begin. Then the sweep begins it.
      if (!state) await this.#may(uploadOf(id).check());
      const what = `${row.state}, ${state?.step}, ${this.happened.events.join('; ')}`;
      if (row.endedAt === null && Date.now() > row.endsBy + HOUR_MS) throw new Error(`is left after its end: ${what}`);
      if (Date.now() > until) throw new Error(`does not end: ${what}, ${alarms} alarms`);
      if (odd < ODD_MAX && this.#chance(0.12)) {
        odd += 1;
        await this.#something();
      }
      const early = this.#chance(0.1);
      if (state && !early) await pass(id, state.alarmAt - Date.now());
      if (odd < ODD_MAX && this.#chance(0.15)) {
        odd += 1;
        death.at = this.#death();
      }
      await this.#alarm();
      if (alarms % 8 === 7) await this.#expectAlarm();
    }
    await this.#cancelling;
    await inStore.unrest(0, CALM);
    return rowOf(id);
  }

  #death(): Death {
    const where = this.random();
    if (where < 0.2) return 'before the step';
    if (where < 0.4) return 'after the step';
    return { request: Math.floor(this.random() * 4), answered: this.#chance(0.6) };
  }

  /** Waits for work that may fail, because D1 may fail at any call. */
  #may(work: Promise<unknown>): Promise<void> {
    return work.then(
      () => {},
      () => {},
    );
  }

  /** Runs an alarm, which may end with its process. If another alarm is under way, that one goes on. */
  async #alarm(): Promise<void> {
    const { events } = this.happened;
    const before = events.length;
    await this.#may(fire(this.id));
    if (events.length > before) return;
    const hasResult = async () => ((await stateOf(this.id))?.begun ?? 0) === 0;
    await this.#may(until('the step has a result', hasResult, 500));
  }

  /** Ends the process as soon as it is to die. */
  #reaper = () =>
    setInterval(() => {
      if (!death.died) return;
      Object.assign(death, { died: false, inStep: false });
      this.happened.events.push('died');
      void killObject(this.id);
    }, 5);

  /** The platform wakes each submission that waits. */
  #expectAlarm(): Promise<boolean> {
    return until('the object has an alarm, or has ended', async () => {
      if ((await rowOf(this.id)).endedAt !== null) return true;
      return runInDurableObject(uploadOf(this.id), async (_, { storage }) => (await storage.getAlarm()) !== null);
    });
  }

  async #something(): Promise<void> {
    const { id, inStore, happened } = this;
    const { release } = inStore;
    const events: readonly (readonly [share: number, name: string, act: () => Promise<unknown>])[] = [
      [5, 'killed', () => killObject(id)],
      [2, 'swept', () => this.#may(uploadOf(id).check())],
      [2, 'lost its alarm', () => this.#loseAlarm()],
      [3, 'odd store', () => inStore.odd(this.random())],
      [3, 'cancelled', () => this.#cancel()],
      [2, 'new store key', () => inStore.rotate().then(() => void (happened.keyLost = false))],
      [2, 'retention', () => this.#retain()],
      [0.4, 'key revoked in the store', () => inStore.revoke().then(() => void (happened.keyLost = true))],
      [0.4, 'store key deleted', () => deleteStoreKey(release).then(() => void (happened.keyDeleted = true))],
      [
        0.4,
        'key revoked',
        () =>
          revokeKeyOf(release)
            .then(() => this.#drained())
            .then(() => void (happened.rightLost = true)),
      ],
      [0.4, 'file lost', () => this.#loseFile()],
    ];
    let at = this.random() * events.reduce((all, [share]) => all + share, 0);
    const [, name, act] = events.find(([share]) => (at -= share) < 0) ?? events[0]!;
    happened.events.push(name);
    const { decide } = databaseFaults;
    // A person's request gets its answer. D1 fails only for the object, and only the object dies.
    if (name !== 'cancelled') {
      databaseFaults.decide = null;
      death.at = null;
    }
    await act();
    databaseFaults.decide = decide;
  }

  /** Somebody cancels it, while it goes on. */
  async #cancel(): Promise<void> {
    const { id, inStore, happened } = this;
    const asked = call(`/api/submissions/${id}/cancel`, inStore.release.key.secret, { method: 'POST' });
    this.#cancelling = asked.then(
      async (answer) => {
        if (answer.status !== 200) return void (await answer.text());
        const { state } = await answer.json<{ state: string }>();
        happened.events.push(`is ${state}`);
        happened.cancelled ||= state === 'cancelled';
      },
      () => {},
    );
    if (this.#chance(0.5)) await this.#cancelling;
  }

  async #loseAlarm(): Promise<void> {
    await runInDurableObject(uploadOf(this.id), (_, { storage }) => storage.deleteAlarm());
    await this.#may(uploadOf(this.id).check());
  }

  /** Runs retention as if more than a year had passed. It must keep what the submission needs. */
  async #retain(): Promise<void> {
    const { blob, endedAt } = await rowOf(this.id);
    // Retention may then delete the row with its file.
    if (endedAt !== null) return;
    const late = Date.now() + 400 * DAY_MS;
    await retain(env, late);
    await drainOutbox(env, late, { limit: 500 });
    if (blob === null || (await rowOf(this.id)).endedAt !== null) return;
    const kept = await db.select().from(schema.blobs).where(eq(schema.blobs.sha256, blob)).get();
    expect(kept?.sha256).toBe(blob);
    if (!this.happened.fileLost) expect(await env.BLOBS.head(kept!.r2Key)).not.toBeNull();
  }

  #drained = (): Promise<unknown> => drainOutbox(env, Date.now() + HOUR_MS, { limit: 500 });

  async #loseFile(): Promise<void> {
    const kept = await db.select().from(schema.blobs).where(eq(schema.blobs.sha256, this.inStore.release.sha256)).get();
    if (kept) await env.BLOBS.delete(kept.r2Key);
    this.happened.fileLost = true;
  }
}

/** Checks that the submission says what the store has. */
async function expectTruth(run: Run, row: Awaited<ReturnType<typeof rowOf>>, wasThere: boolean): Promise<void> {
  const { happened, inStore } = run;
  const { there, times, right, kept } = await inStore.truth();
  const said = { state: row.state, reason: row.reason, words: row.storeWords, there, times, events: happened.events };
  const why = JSON.stringify(said);
  expect([kept, times <= 1], why).toEqual([true, true]);
  if (row.state === 'done') {
    expect([right, happened.cancelled], why).toEqual([true, false]);
    return;
  }
  if (wasThere || !there) return;
  if (row.state === 'cancelled') {
    const last = (await timelineOf(run.id)).at(-1)!.says;
    expect([happened.rightLost, happened.cancelled, last], why).toEqual([
      true,
      false,
      expect.stringContaining('may have the app'),
    ]);
    return;
  }
  // It fails although the file is there only if nobody could ask the store any more.
  const reasons = [
    ...(happened.keyDeleted ? ['key_gone'] : []),
    ...(happened.keyLost ? ['key_refused', 'processing_too_long'] : []),
    ...(happened.rightLost ? ['right_gone'] : []),
    ...(happened.storeLost ? ['store_unavailable', 'processing_too_long'] : []),
  ];
  expect(reasons, why).toContain(row.reason);
}

/** Submits one release, and once more if it did not come to the store. */
async function expectTrueRun(store: Store, seed: number, ends: Record<string, number>): Promise<void> {
  const random = randomFrom(seed);
  const { make, options } = STORES_OF_RUNS[store];
  const inStore = await make(random);
  let before: Run['happened'] | null = null;
  for (let submissions = 0; submissions < 2; submissions++) {
    if (before && (before.rightLost || before.fileLost)) return;
    if (before?.keyLost || before?.keyDeleted) await inStore.rotate();
    const { there } = await inStore.truth();
    const run = new Run(
      await aSubmission(inStore.release, { ...options, storeKey: STORE_KEY }),
      store,
      inStore,
      random,
    );
    const row = await run.toItsEnd();
    await expectTruth(run, row, there);
    const end = row.reason ?? row.state;
    ends[end] = (ends[end] ?? 0) + 1;
    if (row.state === 'done') return;
    before = run.happened;
  }
}

test.for(Object.keys(STORES_OF_RUNS) as Store[])(
  'submissions to %s with faults at random say what the store has, and never send a number twice',
  { timeout: Number(env.SUBMISSION_RUNS) * 20_000 + 60_000 },
  async (store) => {
    const { steps, addresses, violations } = STORES_OF_RUNS[store];
    stepsOfTests.use = mortal(steps);
    stepsOfTests.addresses = addresses;
    letRequestsDie();
    const ends: Record<string, number> = {};
    const wrong: string[] = [];
    const runs = Math.ceil(Number(env.SUBMISSION_RUNS) / 2);
    for (let run = 0; run < runs; run++) {
      const seed = Number(env.SEED) * 1_000_000 + run;
      await expectTrueRun(store, seed, ends).catch((error: Error) => wrong.push(`${seed}: ${error.message}`));
      databaseFaults.decide = null;
    }
    console.info(JSON.stringify({ store, runs, ends }));
    expect(wrong).toEqual([]);
    expect(await violations()).toEqual([]);
  },
);
