import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { PlaySubmit, SubmissionReason } from '#contract';
import { play } from '../../../controller/stores/play.ts';
import { parseServiceAccount } from '../../../controller/stores/play-check.ts';
import { CHUNKS_AT_ONCE } from '../../../controller/stores/step.ts';
import type { PlayAct, PlayAppOptions, PlayOperation } from '../../set-up/stores/play/control.ts';
import { addresses, aWorld, control, strangerUrl, submit, Turns, type World } from './play-driver.ts';
import { Cancelled, type Ended } from './run-steps.ts';

const MEBIBYTE = 1024 * 1024;

/** The file is in Google Play, sent once, and on its track. */
async function expectThere({ app, sha256 }: World, ended: Ended, track = 'internal', status = 'completed') {
  expect(ended.result).toMatchObject({ kind: 'done' });
  const state = await control.state(app);
  expect(state.commits).toEqual({ 7: 1 });
  expect(state.library).toMatchObject([{ versionCode: 7, sha256 }]);
  expect(state.tracks[track]).toMatchObject([{ versionCodes: ['7'], status }]);
  return state;
}

async function expectFailed(ended: Ended, reason: SubmissionReason, says?: string) {
  expect(ended.result).toMatchObject({ kind: 'failed', reason });
  if (says !== undefined) expect((ended.result as { storeWords: string }).storeWords).toContain(says);
}

test.for(['aab', 'apk'] as const)('an %s goes to its track in one edit', async (kind) => {
  const world = await aWorld({}, 300_000, kind);
  const ended = await submit(world);
  const { asked, openEdits } = await expectThere(world, ended);
  expect(ended.result).toMatchObject({ says: 'Version code 7 is on the track internal, as completed.' });
  expect(ended.steps).toEqual(['look', 'open', 'send', 'track', 'commit']);
  expect(ended.sentBytes).toBe(world.size);
  expect(asked).toMatchObject({ insert: 1, open: 1, chunk: 1, 'put-track': 1, commit: 1 });
  expect(openEdits).toBe(0);
  expect(ended.warnings).toEqual([]);
});

test.for<[Partial<PlaySubmit>, object]>([
  [
    { track: 'production', releaseStatus: 'inProgress', rollout: 0.25 },
    { status: 'inProgress', userFraction: 0.25 },
  ],
  [{ track: 'production', releaseStatus: 'inProgress', rollout: 1 }, { status: 'completed' }],
  [{ track: 'beta', releaseStatus: 'draft' }, { status: 'draft' }],
  [{ track: 'alpha', releaseStatus: 'halted' }, { status: 'halted' }],
  [{ track: 'wear:qa team', releaseStatus: 'completed' }, { status: 'completed' }],
])('%j makes the release %j', async ([options, release]) => {
  const world = await aWorld({ tracks: { 'wear:qa team': [] } });
  expect((await submit(world, { options })).result.kind).toBe('done');
  const { tracks } = await control.state(world.app);
  expect(tracks[options.track!]).toEqual([{ versionCodes: ['7'], ...release }]);
});

const OPERATIONS: PlayOperation[] = [
  'token',
  'insert',
  'list-bundles',
  'list-apks',
  'open',
  'ask',
  'chunk',
  'put-track',
  'commit',
];

const refusing = (refusal: string): PlayAct => ({ kind: 'refuse', refusal });

/** Faults that pass. With the last one, the store has done what was asked. */
const PASSING: PlayAct[] = [
  { kind: 'cut' },
  { kind: 'status', status: 429, retryAfter: '7' },
  { kind: 'status', status: 500 },
  { kind: 'lose' },
];

const PASSING_IN_EDITS: PlayAct[] = [
  ...['edit_deleted', 'edit_gone', 'edit_expired', 'internal', 'not_completed', 'unauthenticated'].map(refusing),
  ...PASSING,
];

test.for(OPERATIONS)('whatever passes at %s, the file arrives once', async (on) => {
  const acts = on === 'token' ? PASSING : PASSING_IN_EDITS;
  for (const each of [acts, [{ kind: 'lose' } as const]]) {
    const world = await aWorld();
    for (const act of each) await control.fault(on === 'token' ? world.email : world.app, { on, act });
    await expectThere(world, await submit(world));
  }
});

test('a controller that dies after any invocation repeats one step', async () => {
  for (let dead = 0; dead < 5; dead++) {
    const world = await aWorld();
    await expectThere(world, await submit(world, { crash: (invocation) => invocation === dead }));
  }
});

test('a commit whose answer was lost is found on the track, also if Google was slow to carry it out', async () => {
  const world = await aWorld();
  await control.fault(world.app, { on: 'commit', act: { kind: 'lose' } });
  const ended = await submit(world);
  await expectThere(world, ended);
  expect(ended.steps).toEqual(['look', 'open', 'send', 'track', 'commit', 'commit', 'look-again', 'look-again']);
  for (const name of ['commit', 'look-again']) expect(play.steps[name]!.cancellable).toBe(false);
});

test('a key that is refused after a commit which may have happened is asked with again, until its time is up', async () => {
  const refuse = { kind: 'refuse', refusal: 'unauthenticated' } as const;
  for (const [times, kind] of [
    [6, 'done'],
    [999, 'failed'],
  ] as const) {
    const world = await aWorld();
    await control.fault(world.app, { on: 'commit', act: { kind: 'lose' } });
    await control.fault(world.app, { on: 'commit', times, act: refuse });
    const ended = await submit(world);
    if (kind === 'done') await expectThere(world, ended);
    else await expectFailed(ended, 'processing_too_long', 'invalid authentication');
    expect((await control.state(world.app)).commits).toEqual({ 7: 1 });
  }
});

test.for<[PlayOperation, string, SubmissionReason, string]>([
  ['insert', 'package_not_found', 'app_not_found', 'Package not found'],
  ['insert', 'no_permission', 'role_missing', 'The caller does not have permission'],
  ['insert', 'api_disabled', 'role_missing', 'has not been used'],
  ['insert', 'queries_per_day', 'quota_used_up', 'Queries per day'],
  ['chunk', 'wrong_key', 'build_refused', 'signed with the wrong key'],
  ['chunk', 'wrong_package', 'app_mismatch', 'wrong package name'],
  ['chunk', 'sdk_too_old', 'sdk_too_old', 'must target at least API level 35'],
  ['chunk', 'no_bundle', 'build_refused', 'not in a valid format'],
  ['put-track', 'track_not_found', 'release_refused', 'Track not found'],
  ['put-track', 'no_permission', 'role_missing', 'The caller does not have permission'],
  ['commit', 'daily_saves', 'quota_used_up', 'Daily save quota exceeded.'],
  ['commit', 'no_permission', 'role_missing', 'The caller does not have permission'],
  ['commit', 'fraction_too_large', 'release_refused', 'User fraction'],
])('at %s, %s is %s', async ([on, refusal, reason, says]) => {
  const world = await aWorld();
  await control.fault(world.app, { on, act: { kind: 'refuse', refusal } });
  await expectFailed(await submit(world), reason, says);
});

test('a key that Google does not know, or an app that it has not, is refused at once', async () => {
  const world = await aWorld();
  const stranger = { ...world, key: { ...world.key, clientEmail: 'nobody@tests.example' } as World['key'] };
  await expectFailed(await submit(stranger), 'key_refused', 'account not found');
  const other = await aWorld();
  const keyOfOther = { ...world, key: { ...other.key, clientEmail: world.email } as World['key'] };
  await expectFailed(await submit(keyOfOther), 'key_refused', 'Invalid JWT Signature');
  await expectFailed(await submit({ ...world, app: 'com.example.unknown' }), 'app_not_found', 'com.example.unknown');
  await expectFailed(await submit({ ...world, app: other.app }), 'role_missing', 'permission');
});

test.for(['put-track', 'commit'] as const)(
  'an app that was never published gets a draft, seen at %s',
  async (seenAt) => {
    const world = await aWorld({ draft: true, draftSeenAt: seenAt });
    const ended = await submit(world);
    await expectThere(world, ended, 'internal', 'draft');
    expect(ended.warnings).toEqual([expect.stringContaining('Google Play takes only drafts of this app')]);
    expect(ended.result).toMatchObject({ says: 'Version code 7 is on the track internal, as draft.' });
  },
);

test('changes that Google does not send for review are committed as it asks, with a warning', async () => {
  const world = await aWorld({ review: 'by-hand' });
  const ended = await submit(world);
  expect((await expectThere(world, ended)).notSentForReview).toBe(true);
  expect(ended.warnings).toEqual([expect.stringContaining('Publishing overview')]);

  const asked = await aWorld({ review: 'by-hand' });
  const quiet = await submit(asked, { options: { changesNotSentForReview: true } });
  await expectThere(asked, quiet);
  expect(quiet.warnings).toEqual([]);
});

test('changes that were to wait are not sent for review because Google would rather do so', async () => {
  const world = await aWorld({ review: 'automatic' });
  const ended = await submit(world, { options: { changesNotSentForReview: true } });
  await expectFailed(ended, 'release_refused', 'changesNotSentForReview must not be set');
  expect((await control.state(world.app)).commits).toEqual({});
});

test('what is there already', async () => {
  const file = async (app: (world: World) => PlayAppOptions, options: Partial<PlaySubmit> = {}) => {
    const world = await aWorld();
    await control.app(world.app, app(world));
    await control.file(world.app, world.sha256, 7);
    return { ended: await submit(world, { options }), state: await control.state(world.app) };
  };
  const mine = ({ sha256 }: World) => ({ library: [{ versionCode: 7, kind: 'bundles' as const, sha256 }] });
  const on = (status: string) => ({ tracks: { internal: [{ versionCodes: ['7'], status }] } });

  const released = await file((world) => ({ ...mine(world), ...on('completed') }));
  expect(released.ended.steps).toEqual(['look']);
  expect(released.ended.result.kind).toBe('done');

  const elsewhere = await file(mine, { track: 'beta' });
  expect(elsewhere.ended.steps).toEqual(['look', 'track', 'commit']);
  expect(elsewhere.state.tracks.beta).toMatchObject([{ versionCodes: ['7'] }]);

  const byHand = await file((world) => ({ ...mine(world), ...on('draft') }));
  expect(byHand.state.tracks.internal).toMatchObject([{ status: 'completed' }]);
  expect(byHand.state.asked.open).toBeUndefined();

  // Some users have it, and more are to get it.
  const fewer = { versionCodes: ['7'], status: 'inProgress', userFraction: 0.1 };
  const staged = { releaseStatus: 'inProgress', rollout: 0.5 } as const;
  const wider = await file((world) => ({ ...mine(world), tracks: { internal: [fewer] } }), staged);
  expect(wider.state.tracks.internal).toEqual([{ ...fewer, userFraction: 0.5 }]);

  for (const library of [
    [{ versionCode: 7, kind: 'bundles' as const, sha256: '0'.repeat(64) }],
    [{ versionCode: 7, kind: 'apks' as const, sha256: '0'.repeat(64) }],
  ]) {
    const other = await file(() => ({ library, ...on('completed') }));
    await expectFailed(other.ended, 'build_number_used', 'Version code 7 is already in Google Play');
    expect(other.state.asked.open).toBeUndefined();
    expect(other.state.openEdits).toBe(0);
  }
});

test('a release that was on the track before is no sign of a commit, whose edit was deleted or whose answer was lost', async () => {
  for (const [act, commits] of [
    [{ kind: 'refuse', refusal: 'edit_deleted' }, 2],
    [{ kind: 'lose' }, 2],
  ] as const) {
    const world = await aWorld();
    const { sha256 } = world;
    const tracks = { internal: [{ versionCodes: ['7'], status: 'draft' }] };
    await control.app(world.app, { library: [{ versionCode: 7, kind: 'bundles', sha256 }], tracks });
    await control.fault(world.app, { on: 'commit', act });
    expect((await submit(world)).result.kind).toBe('done');
    const state = await control.state(world.app);
    expect(state.tracks.internal).toEqual([{ versionCodes: ['7'], status: 'completed' }]);
    expect(state.asked.commit).toBe(commits);
  }
});

test('a version code that Google calls used, but does not show, is used', async () => {
  const world = await aWorld();
  await control.fault(world.app, { on: 'chunk', times: 9, act: { kind: 'refuse', refusal: 'version_code_used' } });
  const ended = await submit(world);
  await expectFailed(ended, 'build_number_used', 'has already been used');
  expect(ended.steps.filter((step) => step === 'look')).toHaveLength(3);
});

test('chunks go on where Google is, a few an invocation', async () => {
  const size = 70 * MEBIBYTE + 12_345;
  const world = await aWorld({}, size);
  await control.fault(world.app, { on: 'chunk', after: 1, act: { kind: 'cut' } });
  await control.fault(world.app, { on: 'chunk', after: 2, act: { kind: 'lose' } });
  const ended = await submit(world);
  const { asked } = await expectThere(world, ended);
  expect(Math.max(...ended.parts)).toBeLessThanOrEqual(CHUNKS_AT_ONCE);
  expect(ended.sentBytes).toBe(size);
  // Half of the second chunk arrives before the connection is cut.
  expect(asked).toMatchObject({ insert: 1, open: 1, chunk: 5 });
  expect(await control.violations()).toEqual([]);
});

test('a session that Google forgets is opened again in the same edit, unless the file has arrived', async () => {
  const forgotten = await aWorld();
  await control.fault(forgotten.app, { on: 'ask', act: { kind: 'forget' } });
  const ended = await submit(forgotten);
  expect((await expectThere(forgotten, ended)).asked).toMatchObject({ insert: 1, open: 2 });

  const arrived = await aWorld();
  await control.fault(arrived.app, { on: 'chunk', act: { kind: 'lose' } });
  await control.fault(arrived.app, { on: 'ask', after: 1, act: { kind: 'forget' } });
  const found = await submit(arrived);
  expect((await expectThere(arrived, found)).asked).toMatchObject({ insert: 1, open: 1 });
});

test('bytes that arrive damaged are sent anew, a few times', async () => {
  const once = await aWorld();
  await control.fault(once.app, { on: 'chunk', act: { kind: 'damage' } });
  await expectThere(once, await submit(once));
  const always = await aWorld();
  await control.fault(always.app, { on: 'chunk', times: 99, act: { kind: 'damage' } });
  await expectFailed(await submit(always), 'upload_damaged', 'The file has arrived with the SHA-256');
});

test('a file of another version code than the artifact says is refused', async () => {
  const world = await aWorld();
  await control.file(world.app, world.sha256, 8);
  await expectFailed(await submit(world), 'app_mismatch', 'reads version code 8 from the file, not 7');
  expect((await control.state(world.app)).commits).toEqual({});
});

test('after the last edit Google Play is looked into once more, for a commit whose answer was lost', async () => {
  const lastEdit = async (act: PlayAct) => {
    const world = await aWorld();
    await control.fault(world.app, { on: 'put-track', times: 11, act: refusing('edit_deleted') });
    await control.fault(world.app, { on: 'commit', act });
    const ended = await submit(world);
    expect([ended.steps.at(-1), (await control.state(world.app)).asked.insert]).toEqual(['look-again', 13]);
    return { world, ended };
  };
  const lost = await lastEdit({ kind: 'lose' });
  await expectThere(lost.world, lost.ended);
  const { ended, world } = await lastEdit(refusing('edit_deleted'));
  await expectFailed(ended, 'processing_too_long', 'Google Play ended 12 edits');
  expect(await control.state(world.app)).toMatchObject({ commits: {}, openEdits: 0 });
});

test('what never passes ends: edits, servers, tokens', async () => {
  const edits = await aWorld();
  await control.fault(edits.app, { on: 'put-track', times: 99, act: { kind: 'refuse', refusal: 'edit_deleted' } });
  await expectFailed(await submit(edits), 'store_unavailable', 'This Edit has been deleted.');
  for (const on of ['insert', 'chunk', 'commit'] as const) {
    const down = await aWorld();
    await control.fault(down.app, { on, times: 999, act: { kind: 'status', status: 503 } });
    const ended = await submit(down);
    await expectFailed(ended, on === 'commit' ? 'processing_too_long' : 'store_unavailable');
    expect(ended.tookMs).toBeLessThan(4 * 3_600_000);
  }
  const tokens = await aWorld();
  await control.fault(tokens.app, { on: 'insert', times: 99, act: { kind: 'refuse', refusal: 'unauthenticated' } });
  await expectFailed(await submit(tokens), 'key_refused', 'invalid authentication credentials');
});

test('a cancelled submission leaves no edit', async () => {
  const world = await aWorld();
  const before = async (step: string) => (step === 'open' ? 'cancel' : undefined);
  await expect(submit(world, { before })).rejects.toThrow(Cancelled);
  expect(await control.state(world.app)).toMatchObject({ asked: { insert: 1, 'list-apks': 1 } });
  expect((await control.state(world.app)).openEdits).toBe(0);
});

test('two submissions of an app, each of which ends the edit of the other, both arrive', async () => {
  const one = await aWorld();
  const other = { ...one, versionCode: 8, size: one.size + 1 };
  const sha256 = (await aWorld({}, other.size)).sha256;
  await control.file(one.app, sha256, 8);
  const second = { ...other, sha256 };
  const turns = new Turns();
  for (const world of [one, second]) turns.join(world, 0);
  const ended = await Promise.all([submit(one, { turns }), submit(second, { turns, options: { track: 'beta' } })]);
  expect(ended.map(({ result }) => result.kind)).toEqual(['done', 'done']);
  const { commits, tracks } = await control.state(one.app);
  expect(commits).toEqual({ 7: 1, 8: 1 });
  expect([tracks.internal, tracks.beta]).toMatchObject([[{ versionCodes: ['7'] }], [{ versionCodes: ['8'] }]]);
});

test.for([
  () => `${strangerUrl}/upload?upload_id=`,
  () => `${strangerUrl.replace('127.0.0.1', '[::ffff:127.0.0.1]')}/upload?upload_id=`,
  () => `${strangerUrl.replace('127.0.0.1', 'localhost')}/upload?upload_id=`,
  () => `${strangerUrl.replace('://', '://127.0.0.1@')}/upload?upload_id=`,
  () => '//127.0.0.1/upload?upload_id=',
  () => 'file:///upload?upload_id=',
])('no byte goes to a foreign address of an upload (%#)', async (addressOf) => {
  const world = await aWorld();
  const address = addressOf().replace(/^http:\/\/127\.0\.0\.1:/, 'http://127.0.0.2:');
  await control.fault(world.app, { on: 'open', act: { kind: 'location', address } });
  const ended = await submit(world);
  await expectFailed(ended, 'upload_not_allowed', 'They go to 127.0.0.1 alone');
  expect(ended.tookMs).toBeLessThan(2_000);
  expect((await control.state(world.app)).asked.chunk).toBeUndefined();
});

test.for(OPERATIONS)('nobody follows a redirect of %s', async (on) => {
  const world = await aWorld();
  const act: PlayAct = { kind: 'redirect', location: `${strangerUrl}/followed` };
  await control.fault(on === 'token' ? world.email : world.app, { on, act });
  await expectThere(world, await submit(world));
});

test('neither the addresses of a key file nor those of answers reach a stranger, and no token is told', async () => {
  // The key files of all worlds name the stranger as the place that gives tokens.
  const world = await aWorld();
  expect(world.keyFile).toContain(strangerUrl);
  const echo = `Bearer ya29.c.echoed-0123456789 at https://x.googleapis.com/u?upload_id=${'a1B2'.repeat(20)}`;
  await control.fault(world.app, { on: 'insert', act: { kind: 'say', status: 503, says: echo } });
  const ended = await submit(world);
  await expectThere(world, ended);
  const requests = await control.requests();
  expect(requests.filter(({ operation }) => operation === 'stranger')).toEqual([]);
  expect(await control.violations()).toEqual([]);
  const mine = requests.filter(({ url, body }) => url.includes(world.app) || body.includes('assertion'));
  const secrets = mine.flatMap(({ url, headers, body }) => [
    headers.authorization?.slice(7),
    new URL(url, 'http://x').searchParams.get('upload_id'),
    new URLSearchParams(body).get('assertion'),
  ]);
  const told = ended.seen;
  for (const secret of [...secrets, 'ya29.', 'upload_id', 'PRIVATE KEY', 'eyJ'])
    if (secret) expect(told).not.toContain(secret);
  // Each invocation has its own access token, except the one that only sends bytes.
  const tokens = new Set(mine.map(({ headers }) => headers.authorization).filter(Boolean));
  expect(tokens.size).toBe(ended.steps.length - 1);
});

test('runs with faults at random: sent once, done exactly if it is there', async () => {
  for (let seed = 1; seed <= Number(env.SEQUENCES); seed++) {
    const world = await aWorld({ draft: seed % 5 === 0 });
    await control.unrest(world.app, seed, 0.3);
    const { result } = await submit(world, { crash: (invocation) => (invocation * 7 + seed) % 11 === 0 });
    await control.unrest(world.app, seed, 0);
    const { commits, tracks } = await control.state(world.app);
    const there = tracks.internal?.some(({ versionCodes }) => versionCodes.includes('7')) ?? false;
    expect([seed, result.kind, commits[7] ?? 0]).toEqual([seed, there ? 'done' : 'failed', there ? 1 : 0]);
  }
  expect(await control.violations()).toEqual([]);
});

test('a key file is read without its addresses, and refused by the name of its field', async () => {
  const { keyFile, key } = await aWorld();
  const file = JSON.parse(keyFile) as Record<string, unknown>;
  expect(Object.keys(key).sort()).toEqual(['clientEmail', 'privateKey', 'privateKeyId', 'store']);
  const told: [unknown, string][] = [
    ['no JSON', 'serviceAccount is no JSON'],
    [[], 'serviceAccount.type must be service_account'],
    [{ ...file, type: 'authorized_user' }, 'serviceAccount.type must be service_account'],
    [{ ...file, type: 'external_account', credential_source: { url: strangerUrl } }, 'serviceAccount.type'],
    [{ ...file, client_email: 'x' }, 'serviceAccount.client_email must be'],
    [{ ...file, private_key_id: undefined }, 'serviceAccount.private_key_id must be'],
    [{ ...file, private_key: 7 }, 'serviceAccount.private_key must be'],
    [{ ...file, private_key: String(file.private_key).slice(0, 900) }, 'serviceAccount.private_key must be'],
  ];
  for (const [given, says] of told) {
    const read = await parseServiceAccount(typeof given === 'string' ? given : JSON.stringify(given));
    if (read.ok) throw new Error(says);
    expect(read.message).toContain(says);
    expect(read.message).not.toContain(String(file.private_key).slice(40, 60));
  }
  expect(addresses.googleToken).not.toContain(strangerUrl);
});
