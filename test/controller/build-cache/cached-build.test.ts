/** Checks which stored build is offered to a developer's machine, and that a claim of a stranger never is. */
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import type { ArtifactApp, Build, BuildList, BuildRequestInput, CachedBuild } from '#contract';
import { anApp } from '../factories/rows.ts';
import { aBlob, anArtifact, api, aWorker, claim, report, type TestWorker, untilEnded } from '../factories/scenarios.ts';
import { aKey, aTeam, type Team } from '../factories/teams.ts';

/** The fingerprint of main, which everybody who has the source can compute. */
const MAIN = 'a1'.repeat(20);
const IPA: ArtifactApp = { ...anApp(''), icon: null };
const APPS = {
  simulator: { ...IPA, kind: 'app', signing: 'simulator', profileExpiresAt: null, devices: null },
  device: IPA,
  'debug apk': { ...IPA, platform: 'android', kind: 'apk', signing: 'debug', debuggable: true },
  'release apk': { ...IPA, platform: 'android', kind: 'apk', signing: 'release', debuggable: false },
} satisfies Record<string, ArtifactApp>;

let team: Team;
let worker: TestWorker;
/** The builds of this key may write caches. */
let writer: string;
/** This key may submit and read, and nothing else. */
let reader: string;
let untrusted: string;

beforeAll(async () => {
  team = await aTeam();
  worker = await aWorker({ pool: team.pool });
  writer = (await aKey(team.projectId, ['caches.write'])).key;
  reader = (await aKey(team.projectId, [])).key;
  untrusted = (await aKey(team.projectId, [], { trusted: false })).key;
});

async function request(key: string, asked: Partial<BuildRequestInput> = {}): Promise<BuildRequestInput> {
  return {
    source: { sha256: await aBlob('a source of the team', { project: team.projectId, key }) },
    ...{ command: 'make', platform: 'ios', project: team.projectId, pool: team.pool, fingerprint: MAIN },
    ...asked,
  };
}

async function submit(key: string, asked: Partial<BuildRequestInput> = {}): Promise<Build> {
  const { status, body } = await api<Build>('POST', '/api/builds', await request(key, asked), key);
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body;
}

/** Lets the worker build the waiting build, with one artifact. */
async function succeed(app: keyof typeof APPS, name = 'Shop.app.tar.gz'): Promise<string> {
  const { assignment } = (await claim(worker)).body;
  const artifact = { ...(await anArtifact(assignment!, name, `${app} of ${assignment!.buildId}`)), app: APPS[app] };
  await report(assignment!, { type: 'start' });
  const ended = await report(assignment!, { type: 'succeed', artifacts: [artifact], log: undefined });
  expect(ended.status, JSON.stringify(ended.body)).toBe(200);
  return (await untilEnded(assignment!.buildId)).id;
}

const built = async (key: string, asked: Partial<BuildRequestInput> = {}, app: keyof typeof APPS = 'simulator') => {
  await submit(key, asked);
  return succeed(app);
};

async function offered(key: string, fingerprint = MAIN, platform = 'ios', project = team.name) {
  const path = `/api/projects/${project}/build-cache?platform=${platform}&fingerprint=${fingerprint}`;
  const { status, body } = await api<{ cached: CachedBuild | null }>('GET', path, undefined, key);
  expect(status).toBe(200);
  return body.cached;
}
const idOffered = async (...asked: Parameters<typeof offered>) => (await offered(...asked))?.build.id ?? null;

test('main’s fingerprint from anybody but a key that writes caches is not offered, and not to an untrusted key', async () => {
  await built(untrusted);
  await built(reader);
  await built(env.ADMIN_KEY);
  await built(writer, { trusted: false });
  for (const key of [reader, writer, env.ADMIN_KEY, untrusted]) expect(await offered(key)).toBeNull();

  const id = await built(writer);
  expect(await offered(reader)).toMatchObject({
    build: { id, fingerprint: MAIN, trusted: true, status: 'succeeded' },
    artifact: { name: 'Shop.app.tar.gz', app: { kind: 'app', signing: 'simulator' } },
    madeBy: 'of the team',
  });
  expect(await offered(untrusted)).toBeNull();
  // Later claims take nothing away, and an untrusted retry of the build itself adds nothing.
  await built(untrusted);
  expect((await api('POST', `/api/builds/${id}/retry`, undefined, reader)).status).toBe(201);
  await succeed('simulator');
  expect(await idOffered(reader)).toBe(id);
});

test('the newest build that has succeeded wins, also a retry, of this platform, project and fingerprint alone', async () => {
  const fingerprint = 'b2'.repeat(20);
  const first = await built(writer, { fingerprint });
  expect(await idOffered(reader, fingerprint)).toBe(first);
  await submit(writer, { fingerprint });
  expect(await idOffered(reader, fingerprint)).toBe(first);
  const second = await succeed('simulator');
  expect(await idOffered(reader, fingerprint)).toBe(second);
  const retry = (await api<Build>('POST', `/api/builds/${first}/retry`, undefined, writer)).body;
  expect(retry.fingerprint).toBe(fingerprint);
  expect(await succeed('simulator')).toBe(retry.id);
  expect(await idOffered(reader, fingerprint)).toBe(retry.id);
  expect(await offered(reader, fingerprint, 'android')).toBeNull();
  expect(await offered(reader, 'c3'.repeat(20))).toBeNull();
  const other = await aTeam();
  expect(await offered(env.ADMIN_KEY, fingerprint, 'ios', other.name)).toBeNull();
  expect(
    (await api('GET', `/api/projects/${team.name}/build-cache?platform=ios&fingerprint=${MAIN}`, undefined, other.key))
      .status,
  ).toBe(404);
});

test('only what runs at a developer’s is offered: an app of the simulator, an .apk for debugging', async () => {
  const fingerprint = 'd4'.repeat(20);
  await built(writer, { fingerprint }, 'device');
  expect(await offered(reader, fingerprint)).toBeNull();
  await built(writer, { fingerprint, platform: 'android' }, 'release apk');
  expect(await offered(reader, fingerprint, 'android')).toBeNull();
  const debug = await built(writer, { fingerprint, platform: 'android' }, 'debug apk');
  expect(await idOffered(reader, fingerprint, 'android')).toBe(debug);
});

test('a build of a key that was revoked since is not offered', async () => {
  const fingerprint = 'e5'.repeat(20);
  const leaked = await aKey(team.projectId, ['caches.write']);
  const id = await built(leaked.key, { fingerprint });
  expect(await idOffered(reader, fingerprint)).toBe(id);
  // A retry by another key does not repeat the claim.
  const retry = (await api<Build>('POST', `/api/builds/${id}/retry`, undefined, writer)).body;
  expect(retry).toMatchObject({ retryOf: id, fingerprint: null });
  expect(await succeed('simulator')).toBe(retry.id);
  expect(await idOffered(reader, fingerprint)).toBe(id);
  expect((await api('DELETE', `/api/keys/${leaked.keyId}`)).status).toBe(200);
  expect(await offered(reader, fingerprint)).toBeNull();
});

test('a fingerprint is shown, filtered by, compared by name of the request, and refused if it is none', async () => {
  const fingerprint = 'f6'.repeat(20);
  const asked = { fingerprint, idempotencyKey: 'once' };
  const { id } = await submit(writer, asked);
  const again = await api<Build>('POST', '/api/builds', await request(writer, asked), writer);
  expect([again.status, again.body.id]).toEqual([200, id]);
  const other = await api('POST', '/api/builds', await request(writer, { ...asked, fingerprint: MAIN }), writer);
  expect(other).toMatchObject({ status: 409, body: { error: { code: 'idempotency_mismatch' } } });
  const list = `/api/builds?project=${team.name}&fingerprint=${fingerprint}`;
  const { body } = await api<BuildList>('GET', list, undefined, reader);
  expect(body.builds.map((build) => [build.id, build.fingerprint])).toEqual([[id, fingerprint]]);
  expect((await api('GET', `/api/builds?fingerprint=${fingerprint}`)).status).toBe(400);
  for (const wrong of ['', 'main', 'A'.repeat(40), 'a'.repeat(129), 'a'.repeat(31)])
    expect(
      (await api('POST', '/api/builds', await request(writer, { fingerprint: wrong }), writer)).status,
      wrong,
    ).toBe(400);
  await api('POST', `/api/builds/${id}/cancel`);
});
