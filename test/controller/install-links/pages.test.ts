/** Opens links as a stranger who has one: page, manifest, icon and file, before and after they have ended. */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { DAY_MS } from '#contract';
import { rotateKey } from '../../../controller/access/key-rotation.ts';
import { artifacts, builds, links } from '../../../controller/schema/index.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { parse } from '../../../node_modules/plist/dist/index.js';
import { databaseFaults } from '../factories/faulty-database.ts';
import { aLink, aPreview, ICON, open, type Preview, pathsOf } from '../factories/previews.ts';
import { call, db, unique } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';

const LINES = (['log', 'warn', 'error', 'info', 'debug'] as const).map((name) => vi.spyOn(console, name));
const printed = () => LINES.flatMap(({ mock }) => mock.calls.map((args) => args.map(String).join(' '))).join('\n');

afterEach(() => {
  databaseFaults.decide = null;
});
afterAll(() => {
  vi.restoreAllMocks();
});

const PAGE_POLICY =
  /^default-src 'none'; img-src 'self'; style-src 'nonce-([\w-]{22})'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/;

/** The elements of a page, the text of one of them, and the addresses that it names. */
async function read(page: string, selector: string) {
  const tags: string[] = [];
  const addresses: string[] = [];
  let text = '';
  await new HTMLRewriter()
    .on('*', {
      element: (element) => {
        tags.push(element.tagName);
        for (const name of ['href', 'src', 'action', 'style', 'onclick', 'onerror'])
          if (element.hasAttribute(name)) addresses.push(element.getAttribute(name)!);
      },
    })
    .on(selector, {
      text: (chunk) => {
        text += chunk.text;
      },
    })
    .transform(new Response(page))
    .text();
  return { tags: [...new Set(tags)], addresses, text };
}

test('a link opens page, manifest, icon and file, whatever host the request names', async () => {
  const preview = await aPreview({ build: { branch: 'feature/basket', commitSha: 'c'.repeat(40) } });
  const { token } = await aLink(preview);
  const at = `https://builds.example.com/i/${token}`;
  const [page, manifest, icon, file] = await Promise.all(
    pathsOf(token, preview).map((path) => open(path, {}, { headers: { Host: 'evil.example.com' } })),
  );
  for (const answer of [page!, manifest!, icon!, file!]) {
    expect(answer.status).toBe(200);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      ...{ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' },
      'x-robots-tag': expect.stringContaining('noindex'),
    });
  }
  const html = await page!.text();
  const nonce = PAGE_POLICY.exec(page!.headers.get('Content-Security-Policy')!)?.[1];
  expect(html).toContain(`<style nonce="${nonce}">`);
  expect(page!.headers.get('Content-Type')).toMatch(/^text\/html; charset=utf-8$/i);
  const { tags, addresses, text } = await read(html, 'h1');
  expect(text).toBe('Shop &amp; Café');
  expect(tags.filter((tag) => ['script', 'iframe', 'form', 'object', 'link'].includes(tag))).toEqual([]);
  const manifestUrl = encodeURIComponent(`${at}/manifest.plist`);
  expect(addresses).toEqual([`/i/${token}/icon`, `itms-services://?action=download-manifest&amp;url=${manifestUrl}`]);
  for (const fact of [
    '1.4.0',
    '42',
    'com.example.shop',
    'iOS <bdi>15.1',
    '2027-03-01',
    '7',
    'feature/basket',
    'c'.repeat(12),
  ])
    expect(html).toContain(fact);
  expect(html).toContain('Developer Mode');
  expect(html).toContain('<html lang="en">');
  expect(html).toContain('aria-label="QR code');

  expect(manifest!.headers.get('Content-Type')).toMatch(/^application\/xml/);
  expect(parse(await manifest!.text())).toEqual({
    items: [
      {
        assets: [
          { kind: 'software-package', url: `${at}/file/Shop.ipa` },
          { kind: 'display-image', url: `${at}/icon` },
          { kind: 'full-size-image', url: `${at}/icon` },
        ],
        metadata: {
          ...{ 'bundle-identifier': 'com.example.shop', 'bundle-version': '1.4.0', kind: 'software' },
          ...{ 'platform-identifier': 'com.apple.platform.iphoneos', title: 'Shop & Café' },
        },
      },
    ],
  });
  expect([icon!.headers.get('Content-Type'), await icon!.text()]).toEqual(['image/png', ICON]);
  expect(file!.headers.get('Content-Type')).toBe('application/octet-stream');
  expect(file!.headers.get('Content-Disposition')).toMatch(/^attachment; filename="Shop\.ipa"/);
  expect(await file!.text()).toBe(preview.content);
  const part = await open(pathsOf(token, preview)[3]!, {}, { headers: { Range: 'bytes=4-8' } });
  expect([part.status, await part.text(), part.headers.get('Content-Range')]).toEqual([
    ...[206, preview.content.slice(4, 9)],
    `bytes 4-8/${preview.content.length}`,
  ]);
  expect((await open(`/i/${token}/file/Other.ipa`)).status).toBe(404);
  // The contract lets no route below /i/ change anything.
  expect((await call(`/i/${token}`, null, { method: 'POST' })).status).toBe(404);
});

const HOSTILE = [
  '</string></dict><key>url</key><string>https://evil.example.com/x.ipa',
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onclick='alert(1)",
  '&lt;b&gt; &amp;amp; ]]>',
  'שלום \u202Egpj.exe',
  '🛒 \u0000\u0007 \uffff',
];
test.for(HOSTILE)('a hostile app, branch and file stay text: %j', async (text) => {
  const fileName = `${text.replaceAll('/', '_').replaceAll(/\p{Cc}/gu, '')}.ipa`;
  const preview = await aPreview({
    fileName,
    app: { name: text, version: text, minimumSystem: text },
    build: { branch: text },
  });
  const { token } = await aLink(preview);
  const [page, manifest, , file] = await Promise.all(pathsOf(token, preview).map((path) => open(path)));
  const html = await page!.text();
  const { tags, addresses } = await read(html, 'h1');
  const honest = await aPreview({ build: { branch: 'main' } });
  const plain = await read(await (await open(`/i/${(await aLink(honest)).token}`)).text(), 'h1');
  expect(tags.toSorted()).toEqual(plain.tags.filter((tag) => tag !== '').toSorted());
  expect(addresses).toHaveLength(plain.addresses.length);
  expect(page!.headers.get('Content-Security-Policy')).toMatch(PAGE_POLICY);
  const { items } = parse(await manifest!.text()) as {
    items: { assets: { url: string }[]; metadata: { title: string } }[];
  };
  expect(items).toHaveLength(1);
  expect(items[0]!.metadata.title).toBe(text.replaceAll(/\p{Cc}|\uffff/gu, ''));
  for (const { url } of items[0]!.assets) expect(url).toMatch(/^https:\/\/builds\.example\.com\/i\/[^/]{43}\//);
  expect([file!.status, await file!.text()]).toEqual([200, preview.content]);
  expect(file!.headers.get('Content-Disposition')).toMatch(
    /^attachment; filename="[^"\r\n]*"; filename\*=UTF-8''[^\r\n;]*$/,
  );
});

const WAYS: [what: string, preview: Parameters<typeof aPreview>[0], says: (string | RegExp)[], not: string[]][] = [
  [
    'an .apk is a download',
    {
      fileName: 'Shop.apk',
      app: {
        platform: 'android',
        kind: 'apk',
        signing: 'debug',
        minimumSystem: '24',
        profileExpiresAt: null,
        devices: null,
      },
    },
    ['/file/Shop.apk"', 'Android API level <bdi>24', 'QR code', 'debug key'],
    ['itms-services', 'Developer Mode', 'Profile expires'],
  ],
  [
    'a build for the simulator is a download with its commands, quoted for the shell',
    {
      fileName: "Sho'p $(id).app.tar.gz",
      app: { kind: 'app', signing: 'simulator', profileExpiresAt: null, devices: null },
    },
    [
      'tar -xzf &#39;Sho&#39;\\&#39;&#39;p $(id).app.tar.gz&#39;',
      'xcrun simctl install booted &#39;Sho&#39;\\&#39;&#39;p $(id).app&#39;',
    ],
    ['itms-services', 'QR code'],
  ],
  [
    'an app of an organisation asks for trust and for no Developer Mode',
    { app: { signing: 'enterprise', devices: null } },
    ['VPN &amp; Device Management', 'itms-services'],
    ['Developer Mode', 'Devices in the profile'],
  ],
  [
    'a profile that has expired is said first',
    { app: { profileExpiresAt: '2020-01-01T00:00:00.000Z' } },
    [/class="warning".*expired[\s\S]*2020-01-01[\s\S]*itms-services/],
    [],
  ],
];
test.for(WAYS)('%s', async ([, of, says, not]) => {
  const preview = await aPreview(of);
  const { token } = await aLink(preview);
  const html = await (await open(`/i/${token}`)).text();
  for (const words of says)
    if (typeof words === 'string') expect(html).toContain(words);
    else expect(html).toMatch(words);
  for (const words of not) expect(html).not.toContain(words);
  const isIos = of?.app?.platform !== 'android' && of?.app?.kind !== 'app';
  expect((await open(`/i/${token}/manifest.plist`)).status).toBe(isIos ? 200 : 404);
});

test('an .apk has the type that Android installs, and a page at an http address says that iOS needs https', async () => {
  const apk = await aPreview({ fileName: 'Shop.apk', app: { platform: 'android', kind: 'apk', signing: 'release' } });
  const file = await open(pathsOf((await aLink(apk)).token, apk)[3]!);
  expect(file.headers.get('Content-Type')).toBe('application/vnd.android.package-archive');
  const { token } = await aLink(await aPreview());
  expect(await (await open(`/i/${token}`, { PUBLIC_URL: 'http://localhost:3000' })).text()).toContain(
    'this page has an http address',
  );
});

// ── How a link ends ────────────────────────────────────────────────────────────────────────────────────────

interface Made extends Preview {
  id: string;
  token: string;
}
const revokeKey = (id: string, query = '') => api('DELETE', `/api/keys/${id}${query}`);
const rotated = async ({ key }: Made, by: string) => {
  const made = await rotateKey(env, key.id, by, Date.now(), 0);
  if (!made.ok) throw new Error(made.message);
  return made;
};
const setRights = (id: string, path: string, value: unknown) =>
  env.DB.prepare(`UPDATE keys SET rights = json_set(rights, ?2, json(?3)) WHERE id = ?1`)
    .bind(id, path, JSON.stringify(value))
    .run();

/** An act on a link that works, and whether the link works after that. */
const ENDS: Record<string, [works: boolean, act: (made: Made) => Promise<unknown>]> = {
  'it was revoked': [false, ({ id, key }) => api('DELETE', `/api/links/${id}`, undefined, key.secret)],
  'its key was revoked': [false, ({ key }) => revokeKey(key.id)],
  'its key was revoked with keep=1': [true, ({ key }) => revokeKey(key.id, '?keep=1')],
  'its key was rotated by an admin': [true, (made) => rotated(made, 'admin')],
  'its key renewed itself': [true, (made) => rotated(made, made.key.id)],
  'its key was rotated, and then revoked': [
    false,
    async (made) => {
      await rotated(made, 'admin');
      await revokeKey(made.key.id);
    },
  ],
  'its key was rotated, and the new one revoked': [
    false,
    async (made) => revokeKey((await rotated(made, 'admin')).key.id),
  ],
  'its key was rotated, and the new one revoked with keep=1': [
    true,
    async (made) => revokeKey((await rotated(made, 'admin')).key.id, '?keep=1'),
  ],
  'its key was rotated twice, and one of the two new ones revoked with keep=1': [
    false,
    async (made) => {
      const second = await rotated(made, 'admin');
      const third = await rotated({ ...made, key: { ...made.key, id: second.key.id } }, 'admin');
      await revokeKey(second.key.id, '?keep=1');
      await revokeKey(third.key.id);
    },
  ],
  'its key has lost the right': [false, ({ key }) => setRights(key.id, '$.may', [])],
  'its key does not reach the project any more': [false, ({ key }) => setRights(key.id, '$.projects', ['prj_x'])],
  'its key has expired': [
    false,
    ({ key }) => env.DB.prepare('UPDATE keys SET expires_at = 1 WHERE id = ?').bind(key.id).run(),
  ],
  'it has expired': [false, ({ id }) => db.update(links).set({ expiresAt: Date.now() }).where(eq(links.id, id))],
  'retention removed the artifact': [false, () => retain(env, Date.now() + 15 * DAY_MS)],
  'the artifact was removed': [false, ({ buildId }) => db.delete(artifacts).where(eq(artifacts.buildId, buildId))],
  'the artifact was replaced': [
    false,
    ({ buildId, icon }) => db.update(artifacts).set({ sha256: icon }).where(eq(artifacts.buildId, buildId)),
  ],
  'retention removed the build': [false, () => retain(env, Date.now() + 200 * DAY_MS)],
  'the build is not trusted any more': [
    false,
    ({ buildId }) => db.update(builds).set({ trusted: false }).where(eq(builds.id, buildId)),
  ],
  'its project was deleted': [false, ({ project }) => api('DELETE', `/api/projects/${project}`)],
};

test.for(Object.entries(ENDS))('a link after: %s', async ([, [works, act]]) => {
  const preview = await aPreview();
  const { id, token } = await aLink(preview);
  const paths = pathsOf(token, preview);
  expect((await Promise.all(paths.map((path) => open(path)))).map(({ status }) => status)).toEqual([
    200, 200, 200, 200,
  ]);
  await act({ ...preview, id, token });
  const answers = await Promise.all(paths.map((path) => open(path)));
  expect(answers.map(({ status }) => status)).toEqual(paths.map(() => (works ? 200 : 404)));
  expect(printed()).not.toContain(token);
  if (works) return;
  // The link looks like one that never existed.
  const plain = (text: string) => text.replaceAll(/nonce="[\w-]+"/g, '');
  const stranger = await open(`/i/${unique('x').padEnd(43, 'x')}`);
  const expected = plain(await stranger.text());
  for (const answer of answers) {
    expect(plain(await answer.text())).toBe(expected);
    expect([...answer.headers.keys()]).toEqual([...stranger.headers.keys()]);
  }
});

test('a link works on when TOKEN_KEYS, INPUTS_KEY and ADMIN_KEY are others', async () => {
  const preview = await aPreview();
  const { token } = await aLink(preview);
  const others = { TOKEN_KEYS: `k9:${unique('key')}`, INPUTS_KEY: unique('key'), ADMIN_KEY: unique('tb_admin') };
  for (const path of pathsOf(token, preview)) expect((await open(path, others)).status).toBe(200);
});

test('without PUBLIC_URL no link is made, none opens, and the log says why without its token', async () => {
  const preview = await aPreview();
  const { id, token } = await aLink(preview);
  for (const path of pathsOf(token, preview)) expect((await open(path, { PUBLIC_URL: '' })).status).toBe(404);
  expect(printed()).toContain(`"event":"public_url_missing","link":"${id}","message":"PUBLIC_URL is not set`);
  const refused = await open(
    `/api/builds/${preview.buildId}/links`,
    { PUBLIC_URL: 'http://builds.example.com' },
    {
      method: 'POST',
      headers: { Authorization: `Bearer ${preview.key.secret}` },
    },
  );
  const { error } = await refused.json<{ error: { code: string; message: string } }>();
  expect([refused.status, error.code]).toEqual([409, 'public_url_missing']);
  expect(error.message).toMatch(/^PUBLIC_URL does not begin with https/);
});

test('no line of the log and no refusal shows a token, also when D1 fails or the path has no route', async () => {
  const preview = await aPreview();
  const { token } = await aLink(preview);
  databaseFaults.decide = (statements) => (statements.some((sql) => sql.includes('"links"')) ? 'refused' : undefined);
  for (const path of pathsOf(token, preview)) {
    const answer = await call(path, null);
    expect([answer.status, await answer.text()]).toEqual([500, expect.not.stringContaining(token)]);
  }
  databaseFaults.decide = null;
  expect(printed()).toContain('"event":"error","path":"/i/…/manifest.plist"');
  for (const path of [`/i/${token}/other`, `//i/${token}`, `/i/${token}/file`, `/I/${token}`, `/%69/${token}/x`]) {
    const answer = await call(path, null);
    expect([answer.status, await answer.text()]).toEqual([404, expect.not.stringContaining(token)]);
  }
  const dot = await call(`/i/${token.slice(0, -1)}`, null);
  expect(dot.status).toBe(404);
  expect(printed()).not.toContain(token);
});

test('who guesses tokens is counted by address, and told so', async () => {
  const counted: string[] = [];
  const STRANGERS: RateLimit = {
    limit: async ({ key }) => {
      counted.push(key);
      return { success: counted.length < 3 };
    },
  };
  const { createApp } = await import('../../../controller/app.ts');
  const { SETTINGS } = await import('../../../controller/settings.ts');
  const seen = [];
  for (let guess = 0; guess < 4; guess++) {
    const headers = { 'CF-Connecting-IP': '192.0.2.7' };
    const path = `/i/${String(guess).padEnd(43, 'x')}`;
    seen.push((await createApp(SETTINGS).request(path, { headers }, { ...env, STRANGERS })).status);
  }
  expect([seen, new Set(counted)]).toEqual([[404, 404, 429, 429], new Set(['192.0.2.7'])]);
});
