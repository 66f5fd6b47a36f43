/** Sets, lists and removes the keys of stores against a real controller, whose stores do not answer. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalController, startController } from '../../local/farm/controller.ts';
import { SILENT_STORES } from '../set-up/controller/silent-stores.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';
import { pem, serviceAccount } from './factories/store-key-files.ts';

const state = temporaryDir();
const app = join(state.path, 'app');
let controller: LocalController;

const P8 = pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
const [KEY_ID, ISSUER_ID] = ['2X9R4HXF34', '57246542-96fe-1a63-e053-0824d011072a'];

beforeAll(async () => {
  controller = await startController({ stateDir: join(state.path, 'state'), ...SILENT_STORES });
  const headers = { 'X-API-Key': controller.secrets.ADMIN_KEY, 'content-type': 'application/json' };
  const post = (path: string, body: object) =>
    fetch(`${controller.url}/api/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  // The worker makes the pool `default`.
  for (const [path, body] of Object.entries({ projects: { name: 'shop' }, workers: { name: 'mac' } }))
    expect((await post(path, body)).status).toBe(201);
  mkdirSync(join(app, 'keys'), { recursive: true });
  writeFileSync(join(app, 'keys/AuthKey.p8'), P8);
  writeFileSync(join(state.path, 'account.json'), serviceAccount());
  symlinkSync(join(state.path, 'account.json'), join(app, 'keys/link.json'));
  const ios = { ascApiKeyPath: './keys/AuthKey.p8', ascApiKeyId: '$KEY_ID', ascApiKeyIssuerId: ISSUER_ID };
  const submit = {
    production: { ios, android: { serviceAccountKeyPath: '../account.json' } },
    linked: { android: { serviceAccountKeyPath: 'keys/link.json' } },
    bare: {},
  };
  writeFileSync(join(app, 'eas.json'), JSON.stringify({ submit }));
});
afterAll(async () => {
  await controller?.stop();
  state[Symbol.dispose]();
});

const run = (...args: string[]) =>
  expoBuild(['store-keys', ...args, '--project', 'shop'], {
    cwd: app,
    env: {
      ...{ EXPO_BUILD_URL: controller.url, EXPO_BUILD_KEY: controller.secrets.ADMIN_KEY },
      ...{ XDG_CONFIG_HOME: state.path, KEY_ID },
    },
  });
const set = (name: string, ...flags: string[]) => run('set', name, '--app', 'com.example.shop', ...flags);

test('the key is read where eas.json or a person names it, stored, listed and removed', async () => {
  const apple = await set('apple', '--platform', 'ios', '--json');
  const view = { name: 'apple', identity: KEY_ID, hasIssuerId: true, apps: ['com.example.shop'], pools: ['default'] };
  expect(jsonLinesOf(apple)).toMatchObject([
    { type: 'store_key_set', project: 'shop', storeKey: view, warnings: [expect.stringMatching(/stored unchecked/)] },
  ]);
  const play = await set('play', '--platform', 'android', '--file', '../account.json');
  expect([play.code, play.stdout]).toEqual([0, expect.stringMatching(/^play +version 1 +robot@shop\..* for com\.ex/)]);
  expect(play.stderr).toMatch(/stored unchecked/);
  const own = await set('mine', '--platform', 'ios', '--file', 'keys/AuthKey.p8', '--key-id', 'ZX9R4HXF34', '--json');
  expect(jsonLinesOf(own)).toMatchObject([{ storeKey: { identity: 'ZX9R4HXF34', hasIssuerId: false } }]);
  const listed = await run('list', '--json');
  expect(jsonLinesOf(listed)).toMatchObject(
    ['apple', 'mine', 'play'].map((name) => ({ type: 'store_key', storeKey: { name } })),
  );
  expect((await run('rm', 'mine')).stdout).toMatch(/^removed +mine +app-store-connect/);
  expect(jsonLinesOf(await run('rm', 'play', '--json'))).toMatchObject([{ type: 'store_key_removed' }]);
  expect((await run('list')).stdout).toMatch(/^NAME .*\napple .*\n$/);
  for (const { stdout, stderr } of [apple, play, own, listed])
    expect(stdout + stderr).not.toMatch(/PRIVATE KEY|[A-Za-z0-9+/]{60}/);
});

test('a file outside of the project is not read because eas.json names it, and each mistake names its flag', async () => {
  const rows: [string[], RegExp][] = [
    [['--platform', 'android'], /`\.\.\/account\.json` that eas\.json names lies outside of the project/],
    [['--platform', 'android', '--submit-profile', 'linked'], /lies outside of the project/],
    [['--platform', 'ios', '--submit-profile', 'bare'], /: --file is needed, because .* names no ascApiKeyPath/],
    [['--platform', 'ios', '--submit-profile', 'none'], /none/],
    [['--platform', 'ios', '--file', 'keys/AuthKey.p8'], /: --key-id is needed/],
    [['--platform', 'ios', '--key-id', 'x'], /: --key-id must be a key id/],
    [['--platform', 'android', '--file', 'none.json'], /: --file: none\.json is no file of at most/],
    [['--platform', 'android', '--file', 'eas.json'], /serviceAccount\.type must be service_account/],
    [[], /--platform/],
  ];
  for (const [flags, says] of rows) {
    const { code, stderr } = await set('other', ...flags);
    expect({ flags, code, stderr }).toEqual({ flags, code: 2, stderr: expect.stringMatching(says) });
  }
  expect((await run('set', 'other', '--platform', 'ios')).stderr).toMatch(/--app/);
});
