/**
 * Tests that a build gets the image that it asks for, that its attempt records the image, and that a waiting
 * build tells why it waits.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Build, ClaimRequest, ImageOffer } from '#contract';
import { unique } from '../factories/rows.ts';
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
  type TestWorker,
} from '../factories/scenarios.ts';
import { aKey, aTeam } from '../factories/teams.ts';

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const offer = (name: string, changes: Partial<ImageOffer> = {}): ImageOffer => ({
  ...{ name, platform: 'ios', isDefault: false, digest: digest('a'), provisioned: 'b'.repeat(64) },
  ...changes,
});
/** Both images are there for ios. For android there is only the first, and it is no default. */
const IMAGES = [
  offer('xcode-26', { isDefault: true }),
  offer('xcode-27', { digest: digest('c'), provisioned: null }),
  offer('xcode-26', { platform: 'android' }),
];
const claimOffering = async (worker: TestWorker, images: ClaimRequest['images'], claimId?: string) =>
  (await claim(worker, claimId, images && { images, platforms: ['ios', 'android'] })).body;

test('a build goes to a worker that offers its image, and one that asks for none to the default', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool, slots: 2 });
  const newer = await aBuild({ pool, image: 'xcode-27' });
  const none = await aBuild({ pool });
  expect((await claimOffering(worker, [IMAGES[0]!])).assignment).toMatchObject({ buildId: none, image: 'xcode-26' });
  const { assignment } = await claimOffering(worker, IMAGES);
  expect(assignment).toMatchObject({
    ...{ buildId: newer, image: 'xcode-27' },
    imageIdentity: { digest: digest('c'), provisioned: null },
  });
  expect(await show(newer)).toMatchObject({
    image: 'xcode-27',
    attempts: [{ image: { name: 'xcode-27', digest: digest('c'), provisioned: null } }],
  });
  expect(await show(none)).toMatchObject({
    image: null,
    attempts: [{ image: { name: 'xcode-26', digest: digest('a'), provisioned: 'b'.repeat(64) } }],
  });
  expect((await stateOf(worker)).images).toEqual(IMAGES);
  expect((await api<{ builds: Build[] }>('GET', `/api/builds?pool=${pool}`)).body.builds.map((b) => b.image)).toEqual([
    null,
    'xcode-27',
  ]);
});

test('the same claim is answered with the same image, although the worker offers another one by then', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await aBuild({ pool });
  const claimId = unique('claim');
  const { assignment } = await claimOffering(worker, IMAGES, claimId);
  const again = await claimOffering(worker, [offer('xcode-28', { isDefault: true })], claimId);
  expect(again.assignment).toEqual(assignment);
});

test('an older agent gets the builds that ask for no image, also after a newer one ran there', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  await claimOffering(worker, IMAGES);
  const named = await aBuild({ pool, image: 'xcode-26' });
  const { assignment, reason } = await claimOffering(worker, undefined);
  expect(assignment).toBeNull();
  expect(reason).toBe(
    `build ${named} waits for image xcode-26 for ios, which this worker does not offer; ` +
      '`images` in its config names those that it offers',
  );
  expect((await stateOf(worker)).images).toEqual([]);
  const none = await aBuild({ pool });
  const claimed = await claimOffering(worker, undefined);
  expect(claimed.assignment).toMatchObject({ buildId: none });
  expect(claimed.assignment).not.toHaveProperty('image');
  expect((await show(none)).attempts[0]!.image).toBeNull();
});

test('who waits is told that no worker of the pool offers the image, or no default one', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const buildId = await aBuild({ pool, image: 'xcode-28' });
  const android = await aBuild({ pool, platform: 'android' });
  await sayStatus(worker, { images: IMAGES, platforms: ['ios', 'android'] });
  expect((await show(buildId)).waitingFor).toBe(
    `a worker with its image: no worker of pool ${pool} that is online offers image xcode-28 for ios`,
  );
  expect((await show(android)).waitingFor).toMatch(/ offers a default image for android$/);
  await sayStatus(worker, { images: [...IMAGES, offer('xcode-28')] });
  expect((await show(buildId)).waitingFor).toMatch(/^a free worker of pool /);
});

test('a build that came back does not wait for a free worker that does not offer its image', async () => {
  const pool = unique('pool');
  const [worker, other] = [await aWorker({ pool }), await aWorker({ pool })];
  await sayStatus(other, { images: [IMAGES[0]!] });
  const buildId = await aBuild({ pool, image: 'xcode-27', maxAttempts: 2 });
  const { assignment } = await claimOffering(worker, IMAGES);
  await report(assignment!, { type: 'fail', verdict: 'vm_exited' });
  expect((await claimOffering(worker, IMAGES)).assignment).toMatchObject({ buildId, attempt: 2 });
});

test('a build that names no image has that of its project, which an admin sets, and a retry keeps it', async () => {
  const { name, pool, projectId, key } = await aTeam();
  const sha256 = await aBlob(undefined, { project: projectId, key });
  const submit = async (request: object = {}) =>
    (
      await api<Build>(
        ...(['POST', '/api/builds'] as const),
        { source: { sha256 }, command: 'make', platform: 'ios', pool, project: name, ...request },
        key,
      )
    ).body;
  expect((await submit()).image).toBeNull();
  const set = (image: unknown, by?: string) => api('PATCH', `/api/projects/${name}`, { image }, by);
  expect(await set('xcode-27')).toMatchObject({ status: 200, body: { image: 'xcode-27' } });
  expect((await set('xcode-28', key)).status).toBe(403);
  // A name that the Macs have, and never a reference.
  expect((await set(`ghcr.io/acme/mac@${digest('a')}`)).status).toBe(400);
  const build = await submit();
  expect(build.image).toBe('xcode-27');
  expect((await submit({ image: 'xcode-26' })).image).toBe('xcode-26');
  expect(await set(null)).toMatchObject({ body: { image: null } });
  await api('POST', `/api/builds/${build.id}/cancel`);
  expect(await api('POST', `/api/builds/${build.id}/retry`, undefined, key)).toMatchObject({
    status: 201,
    body: { image: 'xcode-27' },
  });
});

test('a VM may be kept by who has the right, for a build that is trusted, and a retry asks anew', async () => {
  const { name, projectId, pool, key } = await aTeam();
  const keeper = (await aKey(projectId, ['keep'])).key;
  const sha256 = await aBlob(undefined, { project: projectId, key });
  const submit = (by: string, request: object = {}) =>
    api<Build & { error?: { message: string } }>(
      ...(['POST', '/api/builds'] as const),
      {
        ...{ source: { sha256 }, command: 'make', platform: 'ios', pool, project: name },
        ...{ keepVm: { onFailureMs: 60_000 }, ...request },
      },
      by,
    );
  expect(await submit(key)).toMatchObject({
    status: 403,
    body: { error: { message: expect.stringMatching(/^keepVm: .*right keep/) } },
  });
  expect(await submit(keeper, { trusted: false })).toMatchObject({
    ...{ status: 403, body: { error: { message: expect.stringMatching(/^keepVm: .*not trusted/) } } },
  });
  const made = await submit(keeper);
  expect(made.status).toBe(201);
  expect((await submit(env.ADMIN_KEY)).status).toBe(201);
  const worker = await aWorker({ pool });
  const { assignment } = (await claim(worker)).body;
  expect(assignment).toMatchObject({ buildId: made.body.id, keepMs: 60_000 });
  await report(assignment!, { type: 'fail', verdict: 'build_failed', exitCode: 1 });
  for (const [by, keepMs] of [
    [keeper, 60_000],
    [key, null],
  ] as const) {
    const retried = await api<Build>('POST', `/api/builds/${made.body.id}/retry`, undefined, by);
    expect(
      await env.DB.prepare('SELECT keep_ms FROM builds WHERE id = ?1').bind(retried.body.id).first('keep_ms'),
    ).toBe(keepMs);
  }
});
