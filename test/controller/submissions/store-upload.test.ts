import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { afterEach, expect, test, vi } from 'vitest';
import * as schema from '../../../controller/schema/index.ts';
import { SUBREQUESTS_MAX } from '../../../controller/stores/step.ts';
import { StoreUnreachable } from '../../../controller/stores/store-request.ts';
import { databaseFaults } from '../factories/faulty-database.ts';
import { uploads } from '../factories/platform-limits.ts';
import { db, HOUR_MS } from '../factories/rows.ts';
import { until } from '../factories/scenarios.ts';
import { SESSION, stepsOfTests, tinyStore } from '../factories/steps-of-tests.ts';
import {
  aRelease,
  aSubmission,
  fire,
  insertStoreKey,
  PRIVATE_KEY,
  rewriteState,
  rowOf,
  stateOf,
  timelineOf,
  untilOver,
  uploadOf,
} from '../factories/submissions.ts';

afterEach(() => {
  databaseFaults.decide = null;
  stepsOfTests.use = null;
  vi.useRealTimers();
});

const CONTENT = 'the bytes of an app, in chunks';
const CHUNKS = Math.ceil(CONTENT.length / 4);

test('a submission goes from step to step by its own alarms, and the store has each byte once', async () => {
  const store = tinyStore();
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  const row = await until('the submission has ended', async () => {
    const now = await rowOf(id);
    return now.endedAt !== null && now;
  });
  expect(row).toMatchObject({ state: 'done', warnings: ['no groups'], blob: null, sentBytes: CONTENT.length });
  expect(store.steps()).toEqual(['look', ...Array(CHUNKS).fill('send'), 'commit', 'watch']);
  expect(store.sent.join('')).toBe(CONTENT);
  expect(store.seen.map(({ uploadBeganAt }) => uploadBeganAt !== null)).toEqual([
    false,
    ...Array(CHUNKS + 2).fill(true),
  ]);
  expect(await timelineOf(id)).toEqual([
    { state: 'waiting', says: expect.stringContaining('app.aab is to be submitted') },
    { state: 'uploading', says: 'The number is free.' },
    { state: 'processing', says: 'The store has the file, and works on it.' },
    { state: 'done', says: 'The store has processed it.' },
  ]);
  expect(store.cleaned).toEqual([]);
});

/** A store whose upload rests after the first chunk, until the test lets it go on. */
function restingStore() {
  let isResting = true;
  const store = tinyStore({
    send: (context, data) => {
      if (!isResting || data.plain.offset === 0) return store.usual.send(context, data);
      return { kind: 'wait', afterMs: 60_000, data };
    },
  });
  const goOn = () => {
    isResting = false;
  };
  return { store, goOn };
}

/** Whether the object has stored that it waits. */
const rests = async (id: string) => ((await stateOf(id))?.tries ?? 0) > 0;

test('no key and no session of the store is stored in clear, and after the end neither is there at all', async () => {
  const { store, goOn } = restingStore();
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  await until('some chunks are sent', () => rests(id));
  const stored = () => runInDurableObject(uploadOf(id), (_, { storage }) => JSON.stringify([...storage.kv.list()]));
  const during = await stored();
  expect(during).toContain('v2.');
  for (const text of [during, JSON.stringify(await rowOf(id))]) {
    expect(text).not.toContain(SESSION);
    expect(text).not.toContain(PRIVATE_KEY);
  }
  goOn();
  await untilOver(id);
  expect(store.seen.at(-1)).toMatchObject({ secret: { address: SESSION }, key: PRIVATE_KEY });
  expect(await stored()).not.toContain('v2.');
});

test('a session that does not open any more lets the steps begin anew, and what was sent stays its own', async () => {
  const { store, goOn } = restingStore();
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  await until('a chunk is sent', () => rests(id));
  goOn();
  await rewriteState(id, { secret: 'v2.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' });
  expect((await untilOver(id)).state).toBe('done');
  const looks = store.seen.filter(({ step }) => step === 'look');
  expect(looks.map(({ uploadBeganAt }) => uploadBeganAt !== null)).toEqual([false, true]);
  expect(looks.map(({ plain }) => plain)).toEqual([{}, { offset: 4 }]);
});

// ── Crashes ────────────────────────────────────────────────────────────────────────────────────────────────

test('the process dies in the middle of each step: that step is repeated, and nothing else', async () => {
  for (const dies of ['look', 'send', 'commit', 'watch'] as const) {
    let died = false;
    const store = tinyStore({
      [dies]: async (...given: [never, never]) => {
        if (died) return store.usual[dies](...given);
        died = true;
        return new Promise<never>(() => {});
      },
    });
    const id = await aSubmission(await aRelease(`${dies}: ${CONTENT}`));
    await uploadOf(id).begin();
    const abort = runInDurableObject(uploadOf(id), async (object, state) => {
      await until('the step runs', async () => {
        void object.alarm?.();
        return died;
      });
      state.abort('a test lets the object die');
    });
    await abort.catch(() => {});
    expect((await untilOver(id)).state).toBe('done');
    const steps = store.steps();
    expect(steps.filter((step, at) => step === dies && steps[at - 1] === dies).length).toBeGreaterThan(0);
    expect(new Set(steps.filter((step) => step === 'commit')).size).toBe(1);
    expect(store.sent.join('')).toBe(`${dies}: ${CONTENT}`);
  }
});

test.for([
  [0, 'refused'],
  [1, 'answer lost'],
] as const)(
  'D1 fails at each of its calls in turn (%s, %s): the submission ends as without it, with each entry once',
  async ([first, fault]) => {
    for (let failing = first; ; failing += 2) {
      const store = tinyStore();
      const id = await aSubmission(await aRelease('1234'));
      let call = 0;
      let failed = false;
      databaseFaults.decide = () => {
        if (call++ !== failing) return undefined;
        failed = true;
        return fault;
      };
      await uploadOf(id)
        .begin()
        .catch(() => {});
      for (let alarms = 0; alarms < 6; alarms++) await fire(id).catch(() => {});
      databaseFaults.decide = null;
      await uploadOf(id).check();
      expect([failing, (await untilOver(id)).state]).toEqual([failing, 'done']);
      const says = (await timelineOf(id)).map((one) => one.says);
      expect([failing, says.length, new Set(says).size]).toEqual([failing, 4, 4]);
      expect(store.sent.join('')).toBe('1234');
      if (!failed) break;
      expect(failing).toBeLessThan(60);
    }
  },
);

test('an alarm that was lost, and a record that was lost, are found by the sweep’s question', async () => {
  let rests = true;
  const store = tinyStore({
    send: (context, data) => (rests ? { kind: 'wait', afterMs: 60_000, data } : store.usual.send(context, data)),
  });
  const id = await aSubmission(await aRelease(CONTENT));
  // The object of this submission was never begun.
  expect(await uploadOf(id).check()).toBe('repaired');
  await until('the upload rests', async () => store.steps().includes('send'));
  expect(await uploadOf(id).check()).toBe('alive');
  await runInDurableObject(uploadOf(id), (_, { storage }) => storage.deleteAlarm());
  await evictDurableObject(uploadOf(id));
  const before = store.steps().length;
  expect(await uploadOf(id).check()).toBe('repaired');
  expect(store.steps().length).toBe(before + 1);
  await runInDurableObject(uploadOf(id), (_, { storage }) => storage.deleteAll());
  rests = false;
  expect(await uploadOf(id).check()).toBe('repaired');
  expect((await untilOver(id)).state).toBe('done');
  // An upload from before the loss may be its own, so the first step is told.
  expect(store.seen.filter(({ step }) => step === 'look').map((one) => one.uploadBeganAt !== null)).toEqual([
    false,
    true,
  ]);
  expect(await uploadOf(id).check()).toBe('repaired');
  expect((await rowOf(id)).state).toBe('done');
});

// ── Failures, pauses, deadlines ────────────────────────────────────────────────────────────────────────────

/**
 * Lets time pass for the object, without waiting. The time is a day ahead, so no alarm runs by itself.
 */
function clock() {
  const start = Date.now() + 24 * HOUR_MS;
  vi.useFakeTimers({ toFake: ['Date'], now: start });
  return { start, at: (ms: number) => vi.setSystemTime(start + ms) };
}

test('a failure that may pass is tried again after growing pauses, or when the store says, and fails with its words when its time is up', async () => {
  const { at } = clock();
  const why = 'The store answered 503.';
  let afterMs: number | undefined;
  const store = tinyStore({ look: () => ({ kind: 'retry', why, ...(afterMs !== undefined && { afterMs }) }) });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  const pauses: number[] = [];
  let now = 0;
  for (let tries = 0; tries < 4; tries++) {
    await fire(id);
    const next = (await stateOf(id))!.alarmAt - Date.now();
    pauses.push(next);
    at((now += next));
  }
  expect(pauses).toEqual([2_000, 4_000, 8_000, 16_000]);
  afterMs = 25_000;
  await fire(id);
  expect((await stateOf(id))!.alarmAt - Date.now()).toBe(30_000);
  expect((await rowOf(id)).state).toBe('waiting');
  at(60_000);
  await fire(id);
  const row = await untilOver(id);
  expect(row).toMatchObject({ state: 'failed', reason: 'store_unavailable', storeWords: why, blob: null });
  expect(store.steps().every((step) => step === 'look')).toBe(true);
  expect((await timelineOf(id)).map(({ says }) => says)).toEqual([
    expect.stringContaining('is to be submitted'),
    `${why} It is tried again.`,
    expect.stringContaining('failed'),
  ]);
});

test('the platform was away for longer than the time of a step: the step has one more try, and may succeed', async () => {
  const { at } = clock();
  tinyStore();
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  at(3 * HOUR_MS);
  expect((await untilOver(id)).state).toBe('done');
});

test('processing that does not end has its own reason, and so has a step that says it', async () => {
  const { at } = clock();
  tinyStore({ watch: (_, data) => ({ kind: 'wait', afterMs: 15_000, data }) });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  await until('it is watched', async () => {
    await fire(id);
    return (await rowOf(id)).state === 'processing';
  });
  await fire(id);
  expect((await stateOf(id))!.alarmAt - Date.now()).toBeLessThanOrEqual(15_000);
  at(61_000);
  expect(await untilOver(id)).toMatchObject({ state: 'failed', reason: 'processing_too_long' });
});

test('chunks have their time from the last byte on, and all of them together a day', async () => {
  const { at } = clock();
  let now = 0;
  const store = tinyStore({
    send: (context, data) => {
      at((now += 50_000));
      return store.usual.send(context, data);
    },
  });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  expect((await untilOver(id)).state).toBe('done');
  const slow = tinyStore({
    send: (context, data) => {
      at((now += 5 * HOUR_MS));
      return slow.usual.send(context, data);
    },
  });
  const other = await aSubmission(await aRelease(CONTENT));
  await uploadOf(other).begin();
  expect(await untilOver(other)).toMatchObject({ state: 'failed', reason: 'store_unavailable' });
  expect(slow.cleaned).toEqual([{ plain: { offset: expect.any(Number) }, secret: { address: SESSION } }]);
});

test('a step that throws is tried some times, and its error shows no text', async () => {
  const thrown = tinyStore({
    look: () => {
      throw new TypeError(`cannot read ${SESSION}`);
    },
  });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  const row = await untilOver(id);
  expect(row).toMatchObject({ state: 'failed', reason: 'internal', storeWords: 'The step look failed: TypeError.' });
  expect(thrown.steps().length).toBe(9);

  tinyStore({
    look: () => {
      throw new StoreUnreachable('The store could not be reached.');
    },
  });
  const other = await aSubmission(await aRelease(CONTENT));
  await uploadOf(other).begin();
  await fire(other);
  expect(await stateOf(other)).toMatchObject({ lastWhy: 'The store could not be reached.', faults: 0 });
});

test('an invocation makes a few subrequests, also one that sends several chunks', async () => {
  const store = tinyStore({
    send: async ({ artifact, bytes }) => {
      for (let chunk = 0; chunk < 4; chunk++) await new Response(await bytes(chunk, 1)).text();
      return { kind: 'next', step: 'commit', data: { plain: {}, secret: {} }, sentBytes: artifact.size };
    },
  });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  let most = 0;
  for (let last = sum(); (await rowOf(id)).endedAt === null; last = sum()) {
    await fire(id);
    most = Math.max(most, sum() - last);
  }
  expect(most).toBeLessThanOrEqual(SUBREQUESTS_MAX / 2);
  expect(store.steps()).toContain('watch');

  const greedy = tinyStore({
    look: async ({ bytes }) => {
      for (;;) await new Response(await bytes(0, 1)).text();
    },
  });
  const other = await aSubmission(await aRelease(CONTENT));
  await uploadOf(other).begin();
  expect(await untilOver(other)).toMatchObject({ state: 'failed', reason: 'internal' });
  expect(greedy.steps().length).toBe(9);
});

/** Statements and calls of R2 of all objects. */
const sum = () => uploads.reduce((all, { statements, objects }) => all + statements + objects, 0);

// ── Dependencies ───────────────────────────────────────────────────────────────────────────────────────────

test('once the store has the build, what ends a step is a warning of a submission that is done', async () => {
  for (const end of ['refused', 'late', 'key gone'] as const) {
    const { at } = clock();
    const release = await aRelease(CONTENT);
    const store = tinyStore({
      watch: (_, data) =>
        end === 'refused'
          ? { kind: 'failed', reason: 'build_refused', storeWords: 'No.' }
          : { kind: 'wait', afterMs: 15_000, data },
    });
    const { watch } = stepsOfTests.use!.steps;
    Object.assign(watch!, { isThere: { what: 'groups', next: null }, limitMs: 30 * HOUR_MS });
    const id = await aSubmission(release);
    await uploadOf(id).begin();
    await until('it is watched', async () => store.steps().includes('watch') || (await fire(id)));
    if (end === 'key gone') await db.delete(schema.storeKeys).where(eq(schema.storeKeys.id, release.storeKey.id));
    at(25 * HOUR_MS);
    if (end === 'late') {
      await fire(id);
      expect((await rowOf(id)).state).toBe('processing');
    }
    at(31 * HOUR_MS);
    const { state, reason, warnings } = await untilOver(id);
    expect([end, state, reason, warnings.length]).toEqual([end, 'done', null, 1]);
    vi.useRealTimers();
  }
});

test.for([
  ['key_gone', ({ storeKey }) => db.delete(schema.storeKeys).where(eq(schema.storeKeys.id, storeKey.id))],
  ['key_not_for_app', ({ storeKey }) => changeKey(storeKey, { apps: ['com.example.other'] })],
  ['key_not_for_app', ({ storeKey }) => changeKey(storeKey, { pools: ['another'] })],
  ['key_not_for_app', ({ pool }) => db.update(schema.pools).set({ trusted: false }).where(eq(schema.pools.name, pool))],
  ['right_gone', ({ key }) => db.update(schema.keys).set({ revokedAt: 1 }).where(eq(schema.keys.id, key.id))],
  ['right_gone', ({ key }) => db.update(schema.keys).set({ rights: '{}' }).where(eq(schema.keys.id, key.id))],
  [
    'right_gone',
    ({ project }) => db.update(schema.projects).set({ deletedAt: 1 }).where(eq(schema.projects.id, project)),
  ],
  ['artifact_gone', ({ buildId }) => db.delete(schema.artifacts).where(eq(schema.artifacts.buildId, buildId))],
] as [string, (release: Awaited<ReturnType<typeof aRelease>>) => Promise<unknown>][])(
  'before the first byte all is asked again: %s',
  async ([reason, change]) => {
    for (const when of ['before it begins', 'before it sends']) {
      const release = await aRelease(CONTENT);
      const store = tinyStore({
        look: async (...given) => {
          await change(release);
          return store.usual.look(...given);
        },
      });
      const id = await aSubmission(release);
      if (when === 'before it begins') await change(release);
      await uploadOf(id).begin();
      const row = await untilOver(id);
      expect([when, row.state, row.reason]).toEqual([when, 'failed', reason]);
      expect([when, store.steps()]).toEqual([when, when === 'before it sends' ? ['look'] : []]);
      expect(store.sent).toEqual([]);
    }
  },
);

const changeKey = ({ id }: { id: string }, patch: object) =>
  db.update(schema.storeKeys).set(patch).where(eq(schema.storeKeys.id, id));

test('a new version of the store key is used from then on, and recorded', async () => {
  const store = tinyStore();
  const release = await aRelease(CONTENT);
  const id = await aSubmission(release);
  await db.delete(schema.storeKeys).where(eq(schema.storeKeys.id, release.storeKey.id));
  await insertStoreKey({ ...release.storeKey, version: 2 });
  await uploadOf(id).begin();
  expect(await untilOver(id)).toMatchObject({ state: 'done', storeKeyVersion: 2 });
  expect(store.seen[0]!.key).toBe(PRIVATE_KEY);
});

// ── Cancellation ───────────────────────────────────────────────────────────────────────────────────────────

test('a submission is cancelled at each step before the store has the app, and not afterwards', async () => {
  for (const [step, answer] of [
    ['look', 'cancelled'],
    ['send', 'cancelled'],
    // This step is the next one, and was never begun.
    ['commit', 'cancelled'],
    ['watch', 'too_late'],
  ] as const) {
    clock();
    const store = tinyStore({
      watch: (_, data) => ({ kind: 'wait', afterMs: 60_000, data }),
    });
    const id = await aSubmission(await aRelease(CONTENT));
    await uploadOf(id).begin();
    // D1 is down once the step is the next one.
    databaseFaults.decide = () => (store.next() === step ? 'refused' : undefined);
    await until(`${step} is next`, async () => {
      await fire(id);
      const state = await stateOf(id);
      return state?.step === step && state.halts > 0;
    });
    databaseFaults.decide = null;
    const before = store.steps().filter((one) => one === step).length;
    expect([step, await uploadOf(id).cancel('Somebody cancelled it.')]).toEqual([step, answer]);
    if (answer === 'too_late') {
      expect(await uploadOf(id).cancel('The key was revoked.', true)).toBe('cancelled');
      expect((await timelineOf(id)).at(-1)!.says).toContain('may have the app');
    }
    const row = await untilOver(id);
    expect([step, row.state, row.blob]).toEqual([step, 'cancelled', null]);
    if (answer === 'cancelled')
      expect(store.steps().filter((one) => one === step).length).toBeLessThanOrEqual(before + 1);
    expect(store.cleaned.length).toBe(step === 'look' ? 0 : 1);
    expect(await uploadOf(id).cancel('Again.')).toBe('ended');
    vi.useRealTimers();
  }
});

test('a cancellation is heard wherever the run is that has begun meanwhile', async () => {
  for (let statements = 0; statements < 6; statements++) {
    const { store } = restingStore();
    const id = await aSubmission(await aRelease(CONTENT));
    await uploadOf(id).begin();
    await until('a chunk is sent', () => rests(id));
    const answer = await runInDurableObject(uploadOf(id), async (object) => {
      const run = object.alarm();
      for (let made = 0; made < statements; made++) await rowOf(id);
      const cancelled = await object.cancel('Somebody cancelled it.');
      await run;
      return cancelled;
    });
    expect([statements, answer, (await rowOf(id)).state]).toEqual([statements, 'cancelled', 'cancelled']);
    expect(store.cleaned.length).toBeLessThanOrEqual(1);
    expect(store.steps()).not.toContain('commit');
  }
});

test('a step that is under way is stopped by a cancellation, but for the one that gives the app to the store', async () => {
  let running = false;
  tinyStore({
    send: ({ signal }) =>
      new Promise((_, reject) => {
        running = true;
        signal.addEventListener('abort', () => reject(new StoreUnreachable('stopped')));
      }),
  });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  await until('the chunk is on its way', async () => running);
  expect(await uploadOf(id).cancel('Somebody cancelled it.')).toBe('cancelled');
  expect((await untilOver(id)).state).toBe('cancelled');

  let isReleased = false;
  running = false;
  const store = tinyStore({
    commit: async (context, data) => {
      running = true;
      await until('the test lets it go on', async () => isReleased);
      return store.usual.commit(context, data);
    },
  });
  const other = await aSubmission(await aRelease(CONTENT));
  await uploadOf(other).begin();
  await until('the store is getting it', async () => running);
  expect(await uploadOf(other).cancel('Somebody cancelled it.')).toBe('too_late');
  isReleased = true;
  expect(
    await until('it has ended', async () => (await rowOf(other)).endedAt !== null && (await rowOf(other)).state),
  ).toBe('done');
});

test('what is removed in the store is tried once, whatever comes of it', async () => {
  const store = tinyStore({
    commit: () => ({ kind: 'failed', reason: 'build_refused', storeWords: 'ITMS-90683' }),
    cleanUp: () => {
      throw new Error('the store is down');
    },
  });
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  expect(await untilOver(id)).toMatchObject({ state: 'failed', reason: 'build_refused', storeWords: 'ITMS-90683' });
  await fire(id);
  expect(store.cleaned.length).toBe(1);
});

test('an object is forgotten once its row is gone, and not before', async () => {
  tinyStore();
  const id = await aSubmission(await aRelease(CONTENT));
  await uploadOf(id).begin();
  await untilOver(id);
  expect(await uploadOf(id).forget()).toBe(false);
  await db.delete(schema.submissions).where(eq(schema.submissions.id, id));
  expect(await uploadOf(id).forget()).toBe(true);
  expect(await stateOf(id)).toBeUndefined();
  expect(await env.STORE_UPLOADS.getByName('sub_none').cancel('x')).toBe('not_found');
});
