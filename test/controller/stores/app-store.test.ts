import { afterEach, expect, test } from 'vitest';
import { appStore } from '../../../controller/stores/app-store.ts';
import type { AppleAct, AppleOperation } from '../../set-up/stores/app-store/control.ts';
import { aWorld, BUILD_NUMBER, control, submit, VERSION, type World } from './app-store-driver.ts';
import { Cancelled } from './run-steps.ts';

afterEach(async () => {
  expect(await control.violations()).toEqual([]);
});

const HAPPY = [
  'find',
  'look',
  'create',
  'reserve',
  'chunks',
  'chunks',
  'chunks',
  'commit',
  'watch',
  'watch',
  'finish',
  'groups',
];

/** The one build in the store is ours, with the bytes that we have. */
async function expectOneBuild(world: World): Promise<void> {
  const { builds, uploads } = await control.state(world.ascAppId);
  expect(builds).toMatchObject([{ version: VERSION, buildNumber: BUILD_NUMBER }]);
  expect(uploads.filter(({ sha256 }) => sha256 !== null)).toMatchObject([{ state: 'COMPLETE', sha256: world.sha256 }]);
  expect(builds[0]?.upload).toBe(uploads.find(({ sha256 }) => sha256 !== null)?.id);
}

test.for([
  ['by its bundle id', false, {}],
  ['by ascAppId', true, {}],
  ['with an individual key', false, { individual: true }],
  ['if Apple takes no limited token', false, { refusesScopes: true }],
] as const)('an .ipa goes to TestFlight: the app is found %s', async ([, byId, account]) => {
  const world = await aWorld({}, account);
  const options = byId ? { ascAppId: world.ascAppId } : {};
  const { result, steps, sentBytes } = await submit(world, { options });
  expect(result).toMatchObject({ kind: 'done', says: `Build ${BUILD_NUMBER} of version ${VERSION} is in TestFlight.` });
  expect(steps).toEqual(HAPPY);
  expect(sentBytes).toBe(world.file.length);
  await expectOneBuild(world);
});

test('nothing that is stored or shown has a key, a token or an upload address in it', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'chunk', act: { kind: 'expire' } });
  const { seen } = await submit(world);
  const key = world.key.privateKey.split('\n')[1]!;
  expect(seen).not.toContain(key.slice(0, 20));
  expect(seen).not.toMatch(/eyJ|Bearer|Signature|http:|c0ffee/);
  const bytes = (await control.requests()).filter(({ operation }) => operation === 'chunk');
  expect(bytes.length).toBeGreaterThan(0);
  expect(bytes.filter(({ headers }) => 'authorization' in headers)).toEqual([]);
});

test.for([
  [{ groups: ['Team', 'Everybody', 'Nobody'], whatToTest: 'Look at\nthe login.' }, 'APP_MANAGER'],
  [{ groups: ['Team'], whatToTest: 'Look at the login.' }, 'DEVELOPER'],
] as const)('%j by a key with the role %s', async ([options, role]) => {
  const groups = [{ name: 'Team' }, { name: 'Everybody', allBuilds: true }, { name: 'Others' }];
  const world = await aWorld({ groups, usesNonExemptEncryption: false }, { role });
  const { result, warnings } = await submit(world, { options: { ...options, groups: [...options.groups] } });
  expect(result.kind).toBe('done');
  const [build] = (await control.state(world.ascAppId)).builds;
  const mayAll = role === 'APP_MANAGER';
  expect(build).toMatchObject({
    groups: mayAll ? ['Team'] : [],
    whatToTest: mayAll ? { 'en-US': options.whatToTest } : {},
  });
  expect(warnings).toEqual(
    mayAll
      ? ['TestFlight has no group "Nobody" for this app.']
      : [
          expect.stringMatching(/^What to test was not set\. The key needs the role App Manager/),
          expect.stringMatching(/^The build was not given to the group "Team"\. The key needs the role App Manager/),
        ],
  );
});

test('twenty groups are more than one invocation', async () => {
  const groups = Array.from({ length: 20 }, (_, index) => ({ name: `Group ${index}` }));
  const world = await aWorld({ groups, usesNonExemptEncryption: false });
  const { warnings, steps } = await submit(world, { options: { groups: groups.map(({ name }) => name) } });
  expect([warnings, steps.filter((step) => step === 'groups')]).toEqual([[], ['groups', 'groups', 'groups']]);
  const [build] = (await control.state(world.ascAppId)).builds;
  expect(build?.groups).toEqual(groups.map(({ name }) => name));
});

test('missing export compliance is said, with the line for the config', async () => {
  for (const [store, artifact, said] of [
    [null, null, true],
    [false, null, false],
    [null, false, false],
  ] as const) {
    const world = await aWorld({ usesNonExemptEncryption: store });
    const { warnings } = await submit(world, { usesNonExemptEncryption: artifact });
    expect(warnings.some((line) => line.includes('usesNonExemptEncryption'))).toBe(said);
  }
});

const OPERATIONS: AppleOperation[] = [
  'apps',
  'builds',
  'versions',
  'uploads',
  'create',
  'files',
  'reserve',
  'chunk',
  'file',
  'commit',
  'upload',
  'build',
  'localizations',
  'localize',
  'groups',
  'add',
];

const ACTS: AppleAct[] = [
  { kind: 'lose' },
  { kind: 'cut' },
  { kind: 'garble' },
  { kind: 'status', status: 429, retryAfter: '7' },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 503 },
  { kind: 'refuse', refusal: 'unauthenticated' },
  { kind: 'redirect', location: 'https://evil.example/' },
];

test.for(ACTS)('%j at any request: one upload, and it is done', async (act) => {
  await Promise.all(
    OPERATIONS.map(async (on) => {
      const world = await aWorld({ groups: [{ name: 'Team' }] });
      const options = { groups: ['Team'], whatToTest: 'All of it.' };
      await control.fault(world.key.keyId, { on, act });
      const { result } = await submit(world, { options });
      expect([on, result.kind]).toEqual([on, 'done']);
      await expectOneBuild(world);
      expect((await control.state(world.ascAppId)).uploads).toHaveLength(1);
    }),
  );
});

test('a process that dies after each step in turn repeats that step and nothing else', async () => {
  await Promise.all(
    HAPPY.map(async (_, dies) => {
      const world = await aWorld({ groups: [{ name: 'Team' }] });
      const { result, steps } = await submit(world, { crash: (invocation) => invocation === dies });
      expect(result.kind).toBe('done');
      expect(steps.toSpliced(dies, 1).slice(0, 8)).toEqual(HAPPY.slice(0, 8));
      await expectOneBuild(world);
      expect((await control.state(world.ascAppId)).uploads).toHaveLength(1);
    }),
  );
});

test('a refused key, twice in a row, ends the submission', async () => {
  const world = await aWorld();
  await control.revoke(world.key.keyId);
  const { result, steps } = await submit(world);
  expect(result).toMatchObject({ kind: 'failed', reason: 'key_refused' });
  expect(steps).toEqual(['find', 'find']);
});

test('a key that is refused once Apple may have the app is asked with again, until the time of a submission is up', async () => {
  const world = await aWorld();
  for (const on of ['file', 'upload'] as const)
    await control.fault(world.key.keyId, { on, act: { kind: 'refuse', refusal: 'unauthenticated' }, times: 5 });
  expect((await submit(world)).result.kind).toBe('done');
  await expectOneBuild(world);
  const gone = await aWorld();
  const before = async (step: string) => (step === 'watch' ? void (await control.revoke(gone.key.keyId)) : undefined);
  const { result, tookMs } = await submit(gone, { before });
  expect(result).toMatchObject({
    ...{ kind: 'failed', reason: 'processing_too_long' },
    storeWords: expect.stringContaining('Authentication credentials are missing'),
  });
  expect(tookMs).toBeGreaterThan(23 * 3_600_000);
});

test('no refusal is an end once Apple may have the app', async () => {
  const after = ['file', 'commit', 'upload', 'build'] as const;
  const refusals = ['role', 'agreement', 'state', 'not_found'];
  await Promise.all(
    after.flatMap((on) =>
      refusals.map(async (refusal) => {
        const world = await aWorld();
        // Each read is asked for twice, with a token that is limited and one that is not.
        await control.fault(world.key.keyId, { on, act: { kind: 'refuse', refusal }, times: on === 'commit' ? 2 : 4 });
        expect([on, refusal, (await submit(world)).result.kind]).toEqual([on, refusal, 'done']);
        await expectOneBuild(world);
      }),
    ),
  );
});

test.for(['reserve', 'chunks', 'commit', 'watch'])(
  'somebody takes the number before %s: nothing is done with his build',
  async (at) => {
    const world = await aWorld({ groups: [{ name: 'Team' }] });
    let isTaken = false;
    const { result } = await submit(world, {
      options: { groups: ['Team'], whatToTest: 'Ours.' },
      before: async (step) => {
        if (step !== at || isTaken) return undefined;
        isTaken = true;
        await control.deleteUploads(world.ascAppId);
        const theirs = { version: VERSION, buildNumber: BUILD_NUMBER, upload: crypto.randomUUID() };
        await control.addBuild(world.ascAppId, theirs);
        return undefined;
      },
    });
    expect(result).toMatchObject({ kind: 'failed', reason: 'build_number_used' });
    expect((await control.state(world.ascAppId)).builds).toMatchObject([{ groups: [], whatToTest: {} }]);
  },
);

test('an upload that is deleted by hand after its commit has failed, after some looks', async () => {
  const world = await aWorld();
  const before = async (step: string) =>
    step === 'watch' ? void (await control.deleteUploads(world.ascAppId)) : undefined;
  const { result, tookMs } = await submit(world, { before });
  expect(result).toMatchObject({ kind: 'failed', reason: 'build_refused' });
  expect(tookMs).toBeGreaterThan(10 * 60_000);
});

test('a file of many chunks, whose addresses alone are half a megabyte', async () => {
  const world = await aWorld({ partBytes: 1_000 });
  const { result, steps } = await submit(world);
  expect(result.kind).toBe('done');
  expect(steps.filter((step) => step === 'reserve')).toHaveLength(2);
  await expectOneBuild(world);
});

test.for([
  ['role', 'role_missing', 'The API key in use does not allow this request'],
  ['agreement', 'agreement_missing', 'A required agreement is missing or has expired.'],
] as const)('refused for its %s: %s', async ([refusal, reason, said]) => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'apps', act: { kind: 'refuse', refusal }, times: 2 });
  const { result } = await submit(world);
  expect(result).toMatchObject({ kind: 'failed', reason, storeWords: expect.stringContaining(said) });
});

test('an app that the key does not see, and one of another bundle id', async () => {
  const world = await aWorld();
  const other = await aWorld();
  const longer = { ...world, bundleId: world.bundleId.slice(0, -1) };
  expect((await submit(longer)).result).toMatchObject({ kind: 'failed', reason: 'app_not_found' });
  const foreign = { options: { ascAppId: other.ascAppId } };
  expect((await submit(world, foreign)).result).toMatchObject({ kind: 'failed', reason: 'app_not_found' });
  const mismatch = { options: { ascAppId: world.ascAppId } };
  expect((await submit(longer, mismatch)).result).toMatchObject({ kind: 'failed', reason: 'app_mismatch' });
});

test('a number that somebody else has used ends it before a byte is sent', async () => {
  const used = await aWorld({ builds: [{ version: VERSION, buildNumber: BUILD_NUMBER }] });
  expect((await submit(used)).result).toMatchObject({ kind: 'failed', reason: 'build_number_used' });
  // The same number of another version is free.
  const free = await aWorld({ builds: [{ version: '1.1.0', buildNumber: BUILD_NUMBER }] });
  expect((await submit(free)).result).toMatchObject({ kind: 'done' });
  const raced = await aWorld();
  await control.fault(raced.key.keyId, { on: 'create', act: { kind: 'refuse', refusal: 'duplicate' }, times: 9 });
  expect((await submit(raced)).result).toMatchObject({
    kind: 'failed',
    reason: 'build_number_used',
    storeWords: expect.stringContaining('DUPLICATE'),
  });
  expect((await control.state(raced.ascAppId)).asked.chunk).toBeUndefined();
});

test('an upload that somebody else has begun is not adopted, also if the record of the submission was lost', async () => {
  const world = await aWorld();
  const theirs = await control.addUpload(world.ascAppId, VERSION, BUILD_NUMBER);
  const lost = await submit(world, { uploadBeganAt: Date.now() });
  expect(lost.result.kind).toBe('done');
  expect(lost.plain.uploadId).not.toBe(theirs);
});

test.for([
  [[{ version: '1.2.0', state: 'READY_FOR_DISTRIBUTION' }], 'version_closed'],
  [[{ version: '1.10.0', state: 'REPLACED_WITH_NEW_VERSION' }], 'version_closed'],
  [[{ version: '1.1.9', state: 'READY_FOR_DISTRIBUTION' }], null],
  [[{ version: '1.2.0', state: 'PREPARE_FOR_SUBMISSION' }], null],
] as const)('with the versions %j in the store: %s', async ([versions, reason]) => {
  const world = await aWorld({ versions: [...versions] });
  const { result } = await submit(world);
  expect(result).toMatchObject(reason ? { kind: 'failed', reason } : { kind: 'done' });
});

test.for([
  [['90189'], 'build_number_used'],
  [['90062'], 'version_closed'],
  [['90478'], 'version_closed'],
  [['90186'], 'version_closed'],
  [['90054'], 'app_mismatch'],
  [['90055'], 'app_mismatch'],
  [['90683'], 'purpose_text_missing'],
  [['90725'], 'sdk_too_old'],
  [['90334'], 'build_refused'],
  [['90334', '90725'], 'sdk_too_old'],
] as const)('processing ends with %j: %s', async ([errors, reason]) => {
  const world = await aWorld({ errors: [...errors] });
  const { result } = await submit(world);
  expect(result).toMatchObject({ kind: 'failed', reason, storeWords: expect.stringContaining(errors[0]) });
});

test('a build that is INVALID is refused', async () => {
  const world = await aWorld({ processingState: 'INVALID' });
  expect((await submit(world)).result).toMatchObject({ kind: 'failed', reason: 'build_refused' });
});

test('"already used" is success if the build is what was sent, and only then', async () => {
  const ours = await aWorld({ errors: ['90189'] });
  const theirs = await aWorld({ errors: ['90189'] });
  let added = false;
  const raced = await submit(theirs, {
    before: async (step) => {
      if (step === 'watch' && !added) await control.addBuild(theirs.ascAppId, { version: VERSION, buildNumber: '8' });
      added = true;
      return undefined;
    },
  });
  expect(raced.result).toMatchObject({ kind: 'failed', reason: 'build_number_used' });
  let processed = false;
  const { result } = await submit(ours, {
    before: async (step) => {
      if (step === 'watch' && !processed)
        await control.addBuild(ours.ascAppId, { version: VERSION, buildNumber: BUILD_NUMBER });
      processed ||= step === 'watch';
      return undefined;
    },
  });
  expect(result.kind).toBe('done');
});

test('Apple is asked more and more rarely, for a day at most', async () => {
  const slow = await aWorld({ polls: 12 });
  const { result, tookMs, steps } = await submit(slow);
  expect(result.kind).toBe('done');
  expect(steps.filter((step) => step === 'watch')).toHaveLength(13);
  expect(tookMs).toBeGreaterThan(30 * 60_000);
  const endless = await aWorld({ polls: 10_000 });
  const late = await submit(endless);
  expect(late.result).toMatchObject({ kind: 'failed', reason: 'processing_too_long' });
  expect(late.tookMs).toBe(24 * 60 * 60_000);
  // An upload that was committed stays, because it may still become a build.
  expect((await control.state(endless.ascAppId)).uploads).toMatchObject([{ state: 'PROCESSING' }]);
});

test('bytes go to hosts of Apple alone', async () => {
  for (const origin of ['http://localhost:9', 'http://user@127.0.0.1:9', 'http://127.0.0.1.evil.example']) {
    const world = await aWorld();
    await control.fault(world.key.keyId, { on: 'reserve', act: { kind: 'address', origin } });
    const { result, tookMs } = await submit(world);
    const { host } = new URL(origin);
    expect([result, tookMs]).toMatchObject([
      { kind: 'failed', reason: 'upload_not_allowed', storeWords: expect.stringContaining(`names http://${host} for`) },
      0,
    ]);
    const { asked, uploads } = await control.state(world.ascAppId);
    expect([asked.chunk, uploads]).toEqual([undefined, []]);
  }
});

test('expired addresses are asked for anew, and only the bytes that are missing are sent again', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'chunk', act: { kind: 'expire' }, after: 2 });
  const { result } = await submit(world);
  expect(result.kind).toBe('done');
  expect((await control.state(world.ascAppId)).asked.chunk).toBe(9);
});

test('a chunk that is refused again and again ends it, with the words of the storage', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'chunk', act: { kind: 'refuse', refusal: 'role' }, times: 99 });
  const { result, tookMs } = await submit(world);
  expect(result).toMatchObject({ kind: 'failed', reason: 'store_unavailable' });
  expect(result.kind === 'failed' && result.storeWords).toMatch(/AccessDenied/);
  expect(tookMs).toBe(6 * 60_000);
  expect((await control.state(world.ascAppId)).uploads).toEqual([]);
});

test('damaged bytes are found by their hash', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'chunk', act: { kind: 'damage' } });
  expect((await submit(world)).result).toMatchObject({ kind: 'failed', reason: 'upload_damaged' });
});

test('a store that wants no hash gets none', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'commit', act: { kind: 'hide' } });
  expect((await submit(world)).result.kind).toBe('done');
  await expectOneBuild(world);
});

test('a reservation whose addresses the store names no more is made anew', async () => {
  const world = await aWorld();
  await control.fault(world.key.keyId, { on: 'reserve', act: { kind: 'lose' } });
  await control.fault(world.key.keyId, { on: 'files', act: { kind: 'hide' }, after: 1 });
  const { result, steps } = await submit(world);
  expect(result.kind).toBe('done');
  expect(steps.filter((step) => step === 'create')).toHaveLength(2);
  await expectOneBuild(world);
});

const RUNS = 40;
const RUNS_AT_ONCE = 8;

/** Mulberry32, for the crashes and cancellations of a run. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws faults, crashes and cancellations at random. The submission must say what the store has. */
async function expectTruth(seed: number): Promise<void> {
  const random = randomOf(seed);
  const world = await aWorld({ groups: [{ name: 'Team' }], polls: Math.floor(random() * 3) });
  await control.unrest(world.key.keyId, seed, 0.25);
  const cancels = random() < 0.2;
  const end = await submit(world, {
    options: { groups: ['Team'] },
    crash: () => random() < 0.15,
    before: async (step) => (cancels && appStore.steps[step]?.cancellable && random() < 0.1 ? 'cancel' : undefined),
  }).catch((error: unknown) => {
    if (error instanceof Cancelled) return error;
    throw error;
  });
  const { builds, uploads } = await control.state(world.ascAppId);
  const sent = uploads.filter(({ sha256 }) => sha256 !== null);
  const said = end instanceof Cancelled ? 'cancelled' : end.result.kind;
  expect([seed, said, builds.length, sent.length]).toEqual([
    seed,
    said,
    said === 'done' ? 1 : 0,
    said === 'done' ? 1 : 0,
  ]);
  if (said === 'done') await expectOneBuild(world);
}

test(`${RUNS} submissions with faults at random: never two uploads, never a wrong end`, async () => {
  for (let first = 0; first < RUNS; first += RUNS_AT_ONCE)
    await Promise.all(Array.from({ length: RUNS_AT_ONCE }, (_, index) => expectTruth(1 + first + index)));
});

test.for(['look', 'create', 'reserve', 'chunks', 'commit'])(
  'cancelled before %s: nothing is left in the store',
  async (at) => {
    const world = await aWorld();
    const theirs = await control.addUpload(world.ascAppId, VERSION, BUILD_NUMBER);
    if (at === 'create') await control.fault(world.key.keyId, { on: 'create', act: { kind: 'lose' } });
    let passed = 0;
    const cancelling = submit(world, {
      before: async (step) => (step === at && passed++ > (at === 'create' ? 0 : -1) ? 'cancel' : undefined),
    });
    await expect(cancelling).rejects.toThrow(Cancelled);
    // We must not delete an upload that somebody else has begun.
    expect((await control.state(world.ascAppId)).uploads).toMatchObject([{ id: theirs }]);
  },
);

test('a store that stays out of reach ends a step at its limit; a build that is there is done all the same', async () => {
  const out = { kind: 'status', status: 503 } as const;
  const before = await aWorld();
  await control.fault(before.key.keyId, { on: 'uploads', act: out, times: 10_000 });
  expect((await submit(before)).result).toMatchObject({ kind: 'failed', reason: 'store_unavailable' });
  const after = await aWorld();
  await control.fault(after.key.keyId, { on: 'groups', act: out, times: 10_000 });
  const { result, warnings } = await submit(after, { options: { groups: ['Team'] } });
  expect(result.kind).toBe('done');
  expect(warnings.at(-1)).toBe(
    'The store has the build, but this was left out: groups that were named. App Store Connect answered 503.',
  );
  const busy = await aWorld();
  const later = { kind: 'status', status: 429, retryAfter: '600' } as const;
  await control.fault(busy.key.keyId, { on: 'build', act: later, after: 1, times: 99 });
  const end = await submit(busy, { options: { groups: ['Team'] } });
  expect(end.result).toMatchObject({ kind: 'done', says: expect.stringContaining('is in TestFlight') });
  expect(end.warnings).toEqual([
    expect.stringMatching(/left out: what to test, .* App Store Connect answered 429\.$/),
    'TestFlight has no group "Team" for this app.',
  ]);
});
