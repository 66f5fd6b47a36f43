/** Runs every command about builds, projects and the farm against a real controller. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openInBrowser } from '../../cli/browser.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';
import { commandLeaves } from './factories/command-leaves.ts';
import { expoBuild, jsonLinesOf, type Run } from './factories/expo-build.ts';
import { account, farmOfShop } from './factories/farm-of-shop.ts';
import { HOSTILE, hostileAnswers } from './factories/hostile-answers.ts';
import { serviceAccount } from './factories/store-key-files.ts';

let farm: Awaited<ReturnType<typeof farmOfShop>>;
beforeAll(async () => {
  farm = await farmOfShop();
});
afterAll(async () => {
  await farm?.[Symbol.asyncDispose]();
});

test('every command prints lines of the one schema, and nothing else, on standard output', async () => {
  const { secret } = await farm.keyOfShop(['secrets.set', 'numbers']);
  const runs: [args: string[], lines: object[], input?: string][] = [
    [
      ['list', '--limit', '3'],
      [
        { type: 'build', build: { id: farm.ids.queued } },
        { build: { id: farm.ids.spare } },
        { build: { id: farm.ids.succeeded } },
      ],
    ],
    [
      ['list', '--status', 'failed'],
      [{ type: 'build', build: { id: farm.ids.failed, verdict: { code: 'build_failed' } } }],
    ],
    [
      ['list', '--branch', 'main', '--profile', 'production', '--platform', 'ios'],
      [{ build: { id: farm.ids.failed } }],
    ],
    [['list', '--branch', 'other'], []],
    [
      ['status', farm.ids.failed],
      [{ type: 'build_detail', build: { id: farm.ids.failed, attempts: [{ exitCode: 65 }] } }],
    ],
    [['retry', farm.ids.failed], [{ type: 'build', build: { status: 'queued', retryOf: farm.ids.failed } }]],
    [['cancel', farm.ids.spare], [{ type: 'build', build: { id: farm.ids.spare, status: 'cancelled' } }]],
    [['version', 'set', 'ios', 'com.example.shop', '41'], [{ type: 'counter_set', counter: { value: 41, was: null } }]],
    [['version', 'get'], [{ type: 'counter', project: 'shop', counter: { appId: 'com.example.shop', value: 41 } }]],
    [['secrets', 'set', 'TOKEN'], [{ type: 'secret', secret: { name: 'TOKEN', path: null, version: 1 } }], 's3cret\n'],
    [
      ['secrets', 'set', 'PLAY', '--file', 'source', '--path', 'play.json', '--pool', 'default'],
      [{ type: 'secret', secret: { path: 'play.json', pool: 'default' } }],
    ],
    [
      ['secrets', 'list'],
      [{ secret: { name: 'PLAY' } }, { secret: { name: 'TOKEN' } }],
    ],
    [['secrets', 'rm', 'TOKEN'], [{ type: 'secret_removed', secret: { name: 'TOKEN', pool: 'default' } }]],
  ];
  for (const [args, lines, input] of runs) {
    const ended = await expoBuild([...args, '--json'], { ...farm.as(secret), input: input ?? '' });
    expect({ args, ...ended }).toMatchObject({ code: 0, stderr: '' });
    expect({ args, lines: jsonLinesOf(ended) }).toMatchObject({ args, lines });
    expect(ended.stdout).not.toContain('s3cret');
  }
  const opened = jsonLinesOf(await farm.asAdmin(['open', farm.ids.succeeded, '--expires-in', '2h', '--json']));
  expect(opened).toMatchObject([
    { type: 'link_created', link: { url: expect.stringContaining(`${farm.controller.url}/i/`) } },
  ]);
  const { link } = opened[0] as unknown as { link: { id: string } };
  for (const args of [
    ['list', farm.ids.succeeded],
    ['list', '--project', 'shop'],
    ['revoke', link.id],
  ])
    expect(jsonLinesOf(await farm.asAdmin(['links', ...args, '--json']))).toMatchObject([
      { type: 'link', link: { id: link.id } },
    ]);
  expect(jsonLinesOf(await farm.asAdmin(['workers', '--json']))).toMatchObject([
    { type: 'worker', worker: { name: 'mac' } },
  ]);
  expect((await farm.asAdmin(['status', farm.ids.queued])).stdout).toMatch(/^place +1st in the queue$/m);
});

test('a retry whose answer gets lost makes one build', async () => {
  const client = new BuildsClient(farm.admin);
  await using proxy = await faultyProxy(farm.controller.url);
  proxy.fault = ({ method, count }) => (method === 'POST' && count === 1 ? 'lose answer' : undefined);
  const before = await client.list({ limit: '100' });
  const ended = await expoBuild(
    ['retry', farm.ids.failed, '--json'],
    farm.as(farm.controller.secrets.ADMIN_KEY, proxy.url),
  );
  expect(ended.code, ended.stderr).toBe(0);
  expect(proxy.requests.filter((one) => one.startsWith('POST'))).toHaveLength(2);
  const [away, reached, made] = jsonLinesOf(ended);
  expect([away, reached]).toMatchObject([{ type: 'connection', reached: false }, { reached: true }]);
  const after = await client.list({ limit: '100' });
  expect(after.builds.length - before.builds.length).toBe(1);
  expect(made).toMatchObject({ type: 'build', build: { id: after.builds[0]!.id, retryOf: farm.ids.failed } });
});

test('bad input to each command ends with a line that says why, and with the exit code of its kind', async () => {
  const { secret } = await farm.keyOfShop();
  const revoked = await farm.keyOfShop();
  await farm.call('DELETE', `/api/keys/${revoked.key.id}`);
  const elsewhere = farm.as(secret, 'http://127.0.0.1:9');
  const stranger = farm.as('tb_submit_unknown');
  const asOwner = farm.as(farm.controller.secrets.ADMIN_KEY);
  const rows: [args: string[], run: Run, code: number, says: string][] = [
    [['status', 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['retry', farm.ids.queued], farm.as(secret), 2, 'only a build that has ended can be retried'],
    [['cancel', farm.ids.failed, 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['list'], stranger, 2, 'Run `expo-build login`'],
    [['list'], farm.as(revoked.secret), 2, 'revoked'],
    [['list', '--project', 'other'], farm.as(secret), 2, 'there is no project other'],
    [['list', '--status', 'done'], farm.as(secret), 2, 'Allowed choices are queued'],
    [['list'], elsewhere, 5, 'The controller was not reached'],
    [['workers'], farm.as(secret), 2, 'only a key of scope admin'],
    [['version', 'set', 'ios', 'com.example.shop', '0'], farm.as(secret), 2, 'from 1 to'],
    [['version', 'set', 'ios', 'com.example.shop', '7'], farm.as(secret), 2, 'numbers'],
    [
      ['secrets', 'set', 'TOKEN'],
      { ...farm.as(secret), input: Buffer.from([0x61, 0xff, 0x0a]) },
      ...([2, 'secrets set: standard input is not text in UTF-8. Give `--file` and `--path`'] as const),
    ],
    [
      ['login', '--url', farm.controller.url, '--key-stdin'],
      { ...farm.as(secret), input: Buffer.from([0xff]) },
      2,
      'not text in UTF-8',
    ],
    [['secrets', 'set', 'PATH'], farm.as(secret), 2, 'choose another name'],
    [['secrets', 'set', 'TOKEN', '--file', 'source'], farm.as(secret), 2, '--file and --path go together'],
    [['open', farm.ids.failed], asOwner, 2, 'only a build that has succeeded'],
    [['open', farm.ids.succeeded], farm.as(secret), 2, 'links'],
    [['statsu', 'b_1'], farm.as(secret), 2, "unknown command 'statsu' (Did you mean status?)"],
    [['list'], { cwd: farm.folder, env: { EXPO_BUILD_KEY: secret } }, 2, 'EXPO_BUILD_URL is not'],
    [['list'], { cwd: farm.folder, env: { XDG_CONFIG_HOME: farm.folder } }, 2, '`expo-build login`'],
    [['watch', 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['logs', 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['download', 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['upload', 'b_unknown'], farm.as(secret), 2, 'there is no build b_unknown'],
    [['submit', 'nowhere'], farm.as(secret), 2, 'nowhere is not a folder'],
    [['pack', '--list', 'nowhere'], farm.as(secret), 2, 'nowhere is not a folder'],
    [['explain', 'nowhere'], farm.as(secret), 2, 'nowhere is not a folder'],
    [['init', 'nowhere'], farm.as(secret), 2, 'nowhere is not a folder'],
    [['links', 'list', 'b_unknown'], asOwner, 2, 'there is no build b_unknown'],
    [['links', 'revoke', 'l_unknown'], asOwner, 2, 'l_unknown'],
    [['secrets', 'list', '--project', 'other'], asOwner, 2, 'there is no project other'],
    [['secrets', 'rm', 'NONE', '--project', 'shop'], asOwner, 2, 'the right secrets.set'],
    [['version', 'get', '--project', 'other'], asOwner, 2, 'there is no project other'],
    [['store-keys', 'list', '--project', 'other'], asOwner, 2, 'there is no project other'],
    [['store-keys', 'set', 'play', '--platform', 'android'], asOwner, 2, '--app'],
    [['store-keys', 'rm', 'none', '--project', 'shop'], asOwner, 2, 'no store key'],
  ];
  const named = ([first = '', second = '']: string[]) => [first, `${first} ${second}`];
  const shown = new Set(rows.flatMap(([args]) => named(args)));
  expect((await commandLeaves()).map(([name]) => name).filter((name) => !shown.has(name))).toEqual([]);
  for (const [args, run, code, says] of rows) {
    const ended = await expoBuild([...args, '--json'], run);
    expect({ args, code: ended.code }).toEqual({ args, code });
    expect({ args, lines: jsonLinesOf(ended) }).toEqual({
      args,
      lines: [{ type: 'error', exitCode: code, message: expect.stringContaining(says) }],
    });
    // A person has just typed the command, and needs no method, path and status.
    if (code !== 5) expect(ended.stderr).not.toMatch(/the controller answered|\/api\/builds/);
    expect(ended.stdout).not.toContain(secret);
  }
});

test('what a hostile controller says moves no cursor, sets no title and begins no line', async () => {
  await using hostile = await hostileAnswers(farm.controller.url);
  const run = farm.as(farm.controller.secrets.ADMIN_KEY, hostile.url);
  await farm.asAdmin(['version', 'set', 'ios', 'com.example.shop', '41', '--project', 'shop']);
  await farm.asAdmin(['secrets', 'set', 'TOKEN', '--project', 'shop'], { input: 'x' });
  writeFileSync(join(farm.folder, 'account.json'), serviceAccount());
  const playKey = ['play', '--platform', 'android', '--app', 'com.example.shop', '--file', 'account.json'];
  const commands = [
    ['list'],
    ['status', farm.ids.failed],
    ['status', farm.ids.queued],
    ['retry', farm.ids.succeeded],
    ['cancel', farm.ids.queued],
    ['cancel', 'b_unknown'],
    ['workers'],
    ['open', farm.ids.succeeded],
    ['links', 'list', farm.ids.succeeded],
    ['version', 'get', '--project', 'shop'],
    ['version', 'get'],
    ['secrets', 'list', '--project', 'shop'],
    ['secrets', 'rm', 'TOKEN', '--project', 'shop'],
    // It warns that the stores do not answer.
    ['store-keys', 'set', ...playKey, '--project', 'shop'],
    ['store-keys', 'list', '--project', 'shop'],
    ['store-keys', 'rm', 'play', '--project', 'shop'],
    ['login', '--url', hostile.url, '--key-stdin'],
  ];
  for (const args of commands) {
    const ended = await expoBuild(args, {
      ...run,
      input: args[0] === 'login' ? farm.controller.secrets.ADMIN_KEY : '',
    });
    const printed = ended.stdout + ended.stderr;
    expect({ args, code: ended.code, length: printed.length }).not.toMatchObject({ length: 0 });
    expect({ args, unsafe: printed.match(/[^\P{Cc}\n]|[\u202a-\u202e\u2028\u2029]/gu) }).toEqual({
      args,
      unsafe: null,
    });
    expect({ args, lines: printed.match(/^::.*/gm) }).toEqual({ args, lines: null });
  }
  expect(HOSTILE).toMatch(/\p{Cc}/u);
});

test('a key that is wrong or of a Mac is not kept, and a controller that is not there ends with 5', async () => {
  using it = account();
  const { key } = await farm.call<{ key: string }>('POST', '/api/workers', { name: 'other-mac' });
  const login = (url: string, input: string) => it.run(['login', '--url', url, '--key-stdin', '--json'], { input });
  const ended = [
    await login(farm.controller.url, 'tb_submit_wrong'),
    await login(farm.controller.url, key),
    await login(farm.controller.url, 'two words'),
    await login('http://builds.example.com', 'tb_submit_x'),
    await login('http://127.0.0.1:9', 'tb_submit_x'),
  ];
  expect(ended.flatMap(jsonLinesOf)).toEqual([
    { type: 'error', exitCode: 2, message: expect.stringContaining('does not know this key') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('the key of a Mac') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('this is no key') },
    { type: 'error', exitCode: 2, message: expect.stringContaining('must begin with https://') },
    { type: 'error', exitCode: 5, message: expect.stringContaining('The controller was not reached') },
  ]);
  expect(ended.map(({ code }) => code)).toEqual([2, 2, 2, 2, 5]);
  expect(existsSync(it.path)).toBe(false);
  expect(JSON.stringify(ended)).not.toContain('two words');
});

test('explain counts the stored secrets of the project, although nobody sees their values', async () => {
  using dir = temporaryDir();
  const write = (name: string, value: unknown) => writeFileSync(join(dir.path, name), JSON.stringify(value));
  write('package.json', { name: 'shop', dependencies: { expo: '~57.0.0' } });
  write('app.json', {
    expo: { name: 'Shop', extra: { eas: { projectId: 'p' } }, ios: { bundleIdentifier: 'com.example.shop' } },
  });
  write('eas.json', {
    cli: { appVersionSource: 'remote' },
    build: { expo: { environment: 'production' }, own: { autoIncrement: true } },
  });
  const { secret } = await farm.keyOfShop(['secrets.set', 'secrets.use']);
  const explained = async (...args: string[]) => {
    const ended = await expoBuild(['explain', dir.path, '--json', ...args], farm.as(secret));
    const lines = jsonLinesOf(ended);
    return {
      stdout: ended.stdout,
      code: ended.code,
      whole: lines[0],
      secrets: lines.filter(({ type }) => type === 'explained_secret'),
    };
  };
  const set = (args: string[], input = '') => expoBuild(['secrets', 'set', ...args], { ...farm.as(secret), input });
  const offline = await explained('--profile', 'expo', '--offline');
  expect(offline).toMatchObject({ code: 2, secrets: [{ name: 'EXPO_TOKEN', is: 'missing' }] });
  await set(['EXPO_TOKEN'], 'a token');
  expect(await explained('--profile', 'expo')).toMatchObject({
    code: 0,
    secrets: [{ name: 'EXPO_TOKEN', is: 'stored' }],
  });
  await set(['DIST', '--file', join(farm.folder, 'source'), '--path', 'dist.p12']);
  await farm.asAdmin(['version', 'set', 'ios', 'com.example.shop', '41', '--project', 'shop']);
  expect(await explained('--profile', 'own')).toMatchObject({
    ...{ code: 0, whole: { engine: 'plugin', refusal: null } },
    stdout: expect.stringContaining('The counter of com.example.shop has 41. A build that begins now gets 42.'),
    secrets: [
      { name: 'dist.p12', is: 'stored' },
      { name: 'P12_PASSWORD', is: 'missing' },
    ],
  });
});

test.each([
  'https://x.example.com/i/a&calc',
  'https://x.example.com/%PATH%',
  '-a',
  'file:///etc/passwd',
  'https://x.example.com/i/a"b',
  'https://x.example.com/?a=^',
])('no browser is started with %s', async (url) => {
  expect(await openInBrowser(url)).toBe(false);
});
