/** Makes, lists, revokes and ends links to install pages through the API. */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import {
  type ArtifactApp,
  AuditList,
  DAY_MS,
  KeyRevoked,
  LINKS_OF_BUILD_MAX,
  Link,
  LinkCreated,
  LinkList,
} from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { publicUrl } from '../../../controller/install-links/public-url.ts';
import { links } from '../../../controller/schema/index.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { addArtifact, aLink, aPreview, askLink } from '../factories/previews.ts';
import { db, HOUR_MS } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';
import { contentsOfTables } from '../factories/tables.ts';

const rowOf = (id: string) => db.select().from(links).where(eq(links.id, id)).get();
const listOf = async ({ buildId, key }: { buildId: string; key: { secret: string } }) =>
  LinkList.parse((await api('GET', `/api/builds/${buildId}/links`, undefined, key.secret)).body).links;

test('the address is answered once, begins with PUBLIC_URL, and neither it nor its token is stored', async () => {
  const preview = await aPreview();
  const { status, body } = await askLink(preview);
  expect(status).toBe(201);
  const { url, ...link } = LinkCreated.parse(body);
  expect(url).toMatch(/^https:\/\/builds\.example\.com\/i\/[A-Za-z0-9_-]{43}$/);
  expect(link).toMatchObject({
    ...{ buildId: preview.buildId, projectId: preview.project, revokedAt: null },
    ...{
      artifact: { name: 'out/Shop.ipa', attempt: 1, size: preview.content.length },
      app: { id: 'com.example.shop' },
    },
    createdBy: { keyId: preview.key.id, name: 'previews' },
  });
  expect(JSON.stringify(await contentsOfTables())).not.toContain(url.split('/').at(-1));
  expect(await listOf(preview)).toEqual([link]);
  const second = await aLink(preview);
  const path = `/api/projects/${preview.project}/links?limit=1`;
  const first = LinkList.parse((await api('GET', path, undefined, preview.key.secret)).body);
  const next = await api('GET', `${path}&cursor=${first.nextCursor}`, undefined, preview.key.secret);
  const ids = [first, LinkList.parse(next.body)].flatMap((page) => page.links.map(({ id }) => id));
  expect(ids.toSorted()).toEqual([link.id, second.id].toSorted());
});

const REFUSED: [what: string, fileName: string, app: Partial<ArtifactApp>, said: RegExp][] = [
  ['an .ipa for the App Store', 'A.ipa', { signing: 'app-store' }, /A\.ipa is signed for the App Store, .*TestFlight/],
  ['an .ipa without a signature', 'A.ipa', { signing: 'unsigned' }, /not signed for devices \(unsigned\)/],
  ['an .ipa of unknown signature', 'A.ipa', { signing: null }, /its signature is not known/],
  ['an .ipa without a bundle id', 'A.ipa', { id: null }, /does not say its bundle id/],
  ['an .app for devices', 'A.app.tar.gz', { kind: 'app', signing: 'ad-hoc' }, /a device takes it as an \.ipa/],
  ['an .aab', 'A.aab', { platform: 'android', kind: 'aab', signing: 'release' }, /build an \.apk/],
  ['an unsigned .apk', 'A.apk', { platform: 'android', kind: 'apk', signing: 'unsigned' }, /is not signed/],
];
test.for(REFUSED)('%s is refused, with the reason', async ([, fileName, app, said]) => {
  const preview = await aPreview({ fileName, app });
  for (const request of [{}, { artifact: `out/${fileName}` }]) {
    const { status, body } = await askLink(preview, request);
    expect([status, body.error]).toEqual([422, { code: 'not_installable', message: expect.stringMatching(said) }]);
  }
});

test('of several apps one must be named, and other files are none', async () => {
  const preview = await aPreview();
  await addArtifact(preview, 'notes.txt', null);
  expect((await askLink(preview)).status).toBe(201);
  await addArtifact(preview, 'Second.ipa', {});
  expect((await askLink(preview)).body.error?.message).toMatch(
    /Second\.ipa, out\/Shop\.ipa can all be installed; name one/,
  );
  expect((await askLink(preview, { artifact: 'Second.ipa' })).status).toBe(201);
  expect((await askLink(preview, { artifact: 'notes.txt' })).body.error?.message).toMatch(/is no app/);
  expect((await askLink(preview, { artifact: 'None.ipa' })).body.error?.message).toMatch(/the build has no None\.ipa/);
});

test('no build that runs, has failed or is not trusted gets a link, and no key without the right makes one', async () => {
  const now = Date.now();
  for (const [build, status] of [
    [{ status: 'building', endedAt: null }, 409],
    [{ status: 'failed', endedAt: now }, 409],
    [{ trusted: false }, 403],
  ] as const)
    expect((await askLink(await aPreview({ build }))).status).toBe(status);
  for (const rights of [{ may: [] }, { trusted: false, may: ['links' as const] }])
    expect((await askLink(await aPreview({ rights }))).status).toBe(403);
  const elsewhere = await aPreview();
  expect((await askLink({ ...(await aPreview()), key: elsewhere.key })).status).toBe(404);
});

test('PUBLIC_URL is an https address of a host alone, or http on this machine; a refusal says what to set', async () => {
  for (const [given, origin] of [
    ['https://builds.example.com', 'https://builds.example.com'],
    ['https://builds.example.com:8443/', 'https://builds.example.com:8443'],
    ['http://localhost:3000', 'http://localhost:3000'],
    ['http://[::1]:3000', 'http://[::1]:3000'],
  ] as const)
    expect(publicUrl({ PUBLIC_URL: given })).toEqual({ ok: true, origin });
  for (const given of [
    ...[undefined, '', ' ', 'builds.example.com', 'http://builds.example.com', 'http://127.0.0.1.example.com'],
    ...['https://builds.example.com/x', 'https://builds.example.com?x', 'https://a:b@builds.example.com', 'ftp://x'],
  ])
    expect(publicUrl({ PUBLIC_URL: given })).toMatchObject({
      ...{ ok: false, code: 'public_url_missing' },
      message: expect.stringMatching(/^PUBLIC_URL .*docs\/install-links\.md/),
    });
});

test('a link ends with its artifact at the latest, with its key, or when the request says', async () => {
  const now = Date.now();
  const endOf = async (id: string) => (await rowOf(id))!.expiresAt;
  const endedAt = now - 10 * DAY_MS;
  const old = await aPreview({ build: { endedAt } });
  expect(await endOf((await aLink(old, { expiresInMs: 365 * DAY_MS })).id)).toBe(endedAt + 14 * DAY_MS);
  const short = await endOf((await aLink(old, { expiresInMs: HOUR_MS })).id);
  expect(short).toBeGreaterThanOrEqual(now + HOUR_MS);
  expect(short).toBeLessThan(now + 2 * HOUR_MS);
  expect(await endOf((await aLink(await aPreview({ expiresAt: now + HOUR_MS }))).id)).toBe(now + HOUR_MS);
  const gone = await askLink(await aPreview({ build: { endedAt: now - 15 * DAY_MS } }));
  expect(gone.body.error).toMatchObject({ code: 'not_installable', message: expect.stringContaining('not kept') });
  for (const expiresInMs of [0, 1_000, 400 * DAY_MS]) expect((await askLink(old, { expiresInMs })).status).toBe(400);
});

test('a build has a bounded number of links, and the cron deletes each a day after its end', async () => {
  const preview = await aPreview();
  const { id } = await aLink(preview);
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
     INSERT INTO links (id, hash, project_id, build_id, attempt, artifact, sha256, created_by_key, created_by_root,
       created_at, expires_at)
     SELECT id || i, hash || i, project_id, build_id, attempt, artifact, sha256, created_by_key, created_by_root,
       created_at, created_at FROM links, n WHERE id = ?1`,
  )
    .bind(id, LINKS_OF_BUILD_MAX - 1)
    .run();
  const { status, body } = await askLink(preview);
  expect([status, body.error?.code]).toEqual([429, 'too_many']);
  await api('DELETE', `/api/links/${id}`, undefined, preview.key.secret);
  await retain(env, Date.now() + HOUR_MS);
  expect(await listOf(preview)).toHaveLength(LINKS_OF_BUILD_MAX);
  await retain(env, Date.now() + DAY_MS + HOUR_MS);
  expect(await listOf(preview)).toEqual([]);
  expect((await askLink(preview)).status).toBe(201);
});

test('a revoked link says since when, and says it again; refused attempts are in the audit', async () => {
  const preview = await aPreview();
  const { id } = await aLink(preview);
  const revoke = () => api('DELETE', `/api/links/${id}`, undefined, preview.key.secret);
  const first = Link.parse((await revoke()).body);
  expect(first.revokedAt).not.toBeNull();
  expect((await revoke()).body).toEqual(first);
  const stranger = await aPreview();
  expect((await api('DELETE', `/api/links/${id}`, undefined, stranger.key.secret)).status).toBe(404);
  const { entries } = AuditList.parse((await api('GET', '/api/audit?limit=10')).body);
  const told = entries.map(({ action, target, projectId, denied }) => [action, target, projectId, denied]);
  expect(told).toContainEqual(['link.create', `link/${id}`, preview.project, false]);
  expect(told).toContainEqual(['link.revoke', `link/${id}`, preview.project, false]);
  expect(told).toContainEqual(['link.revoke', `link/${id}`, null, true]);
});

test('the revocation of a key revokes its links and lists them, unless the request says keep=1', async () => {
  const preview = await aPreview();
  const mine = [await aLink(preview), await aLink(preview)];
  const over = await aLink(preview, { expiresInMs: 60_000 });
  await db.update(links).set({ expiresAt: 1 }).where(eq(links.id, over.id));
  const other = await createKey(
    env,
    { name: 'other', scope: 'submit', rights: { ...RIGHTS_TO_ALL, projects: [preview.project], may: ['links'] } },
    Date.now(),
  );
  const theirs = await aLink({ ...preview, key: { id: other.key.id, secret: other.secret } });
  const { ended } = KeyRevoked.parse((await api('DELETE', `/api/keys/${preview.key.id}`)).body);
  expect(ended.links.toSorted()).toEqual(mine.map(({ id }) => id).toSorted());
  expect((await rowOf(mine[0]!.id))?.revokedAt).not.toBeNull();
  expect(await rowOf(theirs.id)).toMatchObject({ revokedAt: null, kept: false });
  const kept = KeyRevoked.parse((await api('DELETE', `/api/keys/${other.key.id}?keep=1`)).body);
  expect(kept.ended.links).toEqual([]);
  expect(await rowOf(theirs.id)).toMatchObject({ revokedAt: null, kept: true });
});

test('links of a key that was replaced end with the last key of its lineage, are listed, and are kept by keep=1', async () => {
  const replaced = async (keyId: string) => {
    const made = await api('POST', `/api/keys/${keyId}/rotate?overlapMs=0`);
    return (made.body as { key: { id: string } }).key.id;
  };
  const revoke = async (id: string, query = '') =>
    KeyRevoked.parse((await api('DELETE', `/api/keys/${id}${query}`)).body).ended.links;
  const preview = await aPreview();
  const [first, second] = [await aLink(preview), await aLink(preview)];
  await db.update(links).set({ kept: true }).where(eq(links.id, second.id));
  const unrelated = await aPreview();
  const theirs = await aLink(unrelated);
  const b = await replaced(preview.key.id);
  const c = await replaced(b);
  // The links still belong to the key c.
  expect(await revoke(b)).toEqual([]);
  expect(await rowOf(first.id)).toMatchObject({ revokedAt: null, kept: false });
  expect(await revoke(c)).toEqual([first.id]);
  expect(await rowOf(second.id)).toMatchObject({ revokedAt: null, kept: true });
  const last = await replaced(unrelated.key.id);
  expect(await revoke(last, '?keep=1')).toEqual([]);
  expect(await rowOf(theirs.id)).toMatchObject({ revokedAt: null, kept: true });
  expect(await revoke(last)).toEqual([]);
});
