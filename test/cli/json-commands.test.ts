/** Runs every command about builds, projects and the farm against a real controller. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openInBrowser } from '../../cli/browser.ts';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { placeOfAttempt } from '../../client/blob-requests.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { uploadBlob } from '../../client/upload.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { type LocalController, startController } from '../../local/farm/controller.ts';
import { SILENT_STORES } from '../set-up/controller/silent-stores.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';
import { faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';
import { commandLeaves } from './factories/command-leaves.ts';
import { expoBuild, expoBuildProcess, jsonLinesOf, type Run } from './factories/expo-build.ts';
import { HOSTILE, hostileAnswers } from './factories/hostile-answers.ts';
import { start, startOnTerminal } from './factories/started.ts';
import { serviceAccount } from './factories/store-key-files.ts';

const state = temporaryDir();
let controller: LocalController;
let admin: Connection;
/** What the agent reads of an app for devices that its profile names. */
const SHOP = {
  ...{ platform: 'ios' as const, kind: 'ipa' as const, id: 'com.example.shop', name: 'Shop', version: '1.4.0' },
  ...{ buildNumber: '42', minimumSystem: '16.0', signing: 'ad-hoc' as const, devices: 2 },
  ...{ profileExpiresAt: '2030-01-01T00:00:00.000Z', usesNonExemptEncryption: false, debuggable: null, icon: null },
};

/** Of a build that failed, of one that succeeded with an artifact, and of two that wait. */
const ids = { failed: '', succeeded: '', queued: '', spare: '' };

const call = async <T>(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> => {
  const headers = { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
  const response = await fetch(`${controller.url}${path}`, {
    method,
    headers,
    body: body ? JSON.stringify(body) : null,
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
};

beforeAll(async () => {
  controller = await startController({ stateDir: join(state.path, 'state'), ...SILENT_STORES });
  const { url, secrets } = controller;
  admin = new Connection({ url, key: secrets.ADMIN_KEY });
  await call('POST', '/api/projects', { name: 'shop' });
  const client = new BuildsClient(admin);
  const source = join(state.path, 'source');
  writeFileSync(source, 'a source');
  const sha256 = createHash('sha256').update('a source').digest('hex');
  const file = { path: source, sha256, sizeBytes: 8 };
  await client.upload(file);
  const origin = {
    repository: 'github.com/acme/shop',
    branch: 'main',
    commit: 'a'.repeat(40),
    message: 'Mend it\n\nAll',
  };
  const request = { source: { sha256 }, platform: 'ios' as const, project: 'shop', origin };
  const { worker, key } = await new AdminClient(admin).registerWorker({ name: 'mac' });
  const mac = new WorkerClient(admin.withKey(key));
  const run = async (profile: string, end: (attempt: AttemptClient, id: string) => Promise<{ ok: boolean }>) => {
    const { id } = await client.submit({ ...request, profile });
    const claim = { instanceId: 'mac', claimId: profile, platforms: ['ios' as const] };
    const claimed = await mac.claim(worker.id, claim);
    if (!claimed.ok || !claimed.value.assignment) throw new Error('nothing was claimed');
    const attempt = new AttemptClient(admin.withKey(claimed.value.assignment.tokens.run));
    const beat = { attempt: 1, source: 'vm' as const, seq: 1, stage: 'building' as const };
    await attempt.heartbeat(id, worker.id, beat as never);
    await attempt.report(id, { type: 'start', attempt: 1 });
    const ended = await end(attempt, id);
    expect(ended).toMatchObject({ ok: true });
    return id;
  };
  ids.failed = await run('production', (attempt, id) =>
    attempt.report(id, { type: 'fail', attempt: 1, verdict: 'build_failed', message: 'xcodebuild', exitCode: 65 }),
  );
  ids.succeeded = await run('preview', async (attempt, id) => {
    const limits = { signal: AbortSignal.timeout(30_000), giveUpAfterMs: 10_000 };
    await uploadBlob(attempt.connection, file, { ...limits, place: placeOfAttempt(id) });
    const artifact = { name: 'Shop.ipa', sha256, size: 8, app: SHOP };
    return await attempt.report(id, { type: 'succeed', attempt: 1, artifacts: [artifact] });
  });
  ids.spare = (await client.submit({ ...request, platform: 'android', profile: 'spare' })).id;
  ids.queued = (await client.submit({ ...request, platform: 'android', profile: 'production' })).id;
});
afterAll(async () => {
  await controller?.stop();
  state[Symbol.dispose]();
});

const as = (key: string, url = controller.url): Run => ({
  cwd: state.path,
  env: { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key, XDG_CONFIG_HOME: state.path },
});
const asAdmin = (args: string[], more: Run = {}) => expoBuild(args, { ...as(controller.secrets.ADMIN_KEY), ...more });

/** A key that reaches the project shop alone. */
const keyOfShop = async (may: string[] = []) =>
  await call<{ secret: string; key: { id: string } }>('POST', '/api/keys', {
    name: 'shop',
    scope: 'submit',
    projects: ['shop'],
    may,
  });

test('every command prints lines of the one schema, and nothing else, on standard output', async () => {
  const { secret } = await keyOfShop(['secrets.set', 'numbers']);
  const runs: [args: string[], lines: object[], input?: string][] = [
    [
      ['list', '--limit', '3'],
      [{ type: 'build', build: { id: ids.queued } }, { build: { id: ids.spare } }, { build: { id: ids.succeeded } }],
    ],
    [['list', '--status', 'failed'], [{ type: 'build', build: { id: ids.failed, verdict: { code: 'build_failed' } } }]],
    [['list', '--branch', 'main', '--profile', 'production', '--platform', 'ios'], [{ build: { id: ids.failed } }]],
    [['list', '--branch', 'other'], []],
    [['status', ids.failed], [{ type: 'build_detail', build: { id: ids.failed, attempts: [{ exitCode: 65 }] } }]],
    [['retry', ids.failed], [{ type: 'build', build: { status: 'queued', retryOf: ids.failed } }]],
    [['cancel', ids.spare], [{ type: 'build', build: { id: ids.spare, status: 'cancelled' } }]],
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
    const ended = await expoBuild([...args, '--json'], { ...as(secret), input: input ?? '' });
    expect({ args, ...ended }).toMatchObject({ code: 0, stderr: '' });
    expect({ args, lines: jsonLinesOf(ended) }).toMatchObject({ args, lines });
    expect(ended.stdout).not.toContain('s3cret');
  }
  const opened = jsonLinesOf(await asAdmin(['open', ids.succeeded, '--expires-in', '2h', '--json']));
  expect(opened).toMatchObject([
    { type: 'link_created', link: { url: expect.stringContaining(`${controller.url}/i/`) } },
  ]);
  const { link } = opened[0] as unknown as { link: { id: string } };
  for (const args of [
    ['list', ids.succeeded],
    ['list', '--project', 'shop'],
    ['revoke', link.id],
  ])
    expect(jsonLinesOf(await asAdmin(['links', ...args, '--json']))).toMatchObject([
      { type: 'link', link: { id: link.id } },
    ]);
  expect(jsonLinesOf(await asAdmin(['workers', '--json']))).toMatchObject([
    { type: 'worker', worker: { name: 'mac' } },
  ]);
  expect((await asAdmin(['status', ids.queued])).stdout).toMatch(/^place +1st in the queue$/m);
});

test('a retry whose answer gets lost makes one build', async () => {
  const client = new BuildsClient(admin);
  await using proxy = await faultyProxy(controller.url);
  proxy.fault = ({ method, count }) => (method === 'POST' && count === 1 ? 'lose answer' : undefined);
  const before = await client.list({ limit: '100' });
  const ended = await expoBuild(['retry', ids.failed, '--json'], as(controller.secrets.ADMIN_KEY, proxy.url));
  expect(ended.code, ended.stderr).toBe(0);
  expect(proxy.requests.filter((one) => one.startsWith('POST'))).toHaveLength(2);
  const [away, reached, made] = jsonLinesOf(ended);
  expect([away, reached]).toMatchObject([{ type: 'connection', reached: false }, { reached: true }]);
  const after = await client.list({ limit: '100' });
  expect(after.builds.length - before.builds.length).toBe(1);
  expect(made).toMatchObject({ type: 'build', build: { id: after.builds[0]!.id, retryOf: ids.failed } });
});

test('bad input to each command ends with a line that says why, and with the exit code of its kind', async () => {
  const { secret } = await keyOfShop();
  const revoked = await keyOfShop();
  await call('DELETE', `/api/keys/${revoked.key.id}`);
  const elsewhere = as(secret, 'http://127.0.0.1:9');
  const stranger = as('tb_submit_unknown');
  const asOwner = as(controller.secrets.ADMIN_KEY);
  const rows: [args: string[], run: Run, code: number, says: string][] = [
    [['status', 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['retry', ids.queued], as(secret), 2, 'only a build that has ended can be retried'],
    [['cancel', ids.failed, 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['list'], stranger, 2, 'Run `expo-build login`'],
    [['list'], as(revoked.secret), 2, 'revoked'],
    [['list', '--project', 'other'], as(secret), 2, 'there is no project other'],
    [['list', '--status', 'done'], as(secret), 2, 'Allowed choices are queued'],
    [['list'], elsewhere, 5, 'The controller was not reached'],
    [['workers'], as(secret), 2, 'only a key of scope admin'],
    [['version', 'set', 'ios', 'com.example.shop', '0'], as(secret), 2, 'from 1 to'],
    [['version', 'set', 'ios', 'com.example.shop', '7'], as(secret), 2, 'numbers'],
    [
      ['secrets', 'set', 'TOKEN'],
      { ...as(secret), input: Buffer.from([0x61, 0xff, 0x0a]) },
      ...([2, 'secrets set: standard input is not text in UTF-8. Give `--file` and `--path`'] as const),
    ],
    [
      ['login', '--url', controller.url, '--key-stdin'],
      { ...as(secret), input: Buffer.from([0xff]) },
      2,
      'not text in UTF-8',
    ],
    [['secrets', 'set', 'PATH'], as(secret), 2, 'choose another name'],
    [['secrets', 'set', 'TOKEN', '--file', 'source'], as(secret), 2, '--file and --path go together'],
    [['open', ids.failed], asOwner, 2, 'only a build that has succeeded'],
    [['open', ids.succeeded], as(secret), 2, 'links'],
    [['statsu', 'b_1'], as(secret), 2, "unknown command 'statsu' (Did you mean status?)"],
    [['list'], { cwd: state.path, env: { EXPO_BUILD_KEY: secret } }, 2, 'EXPO_BUILD_URL is not'],
    [['list'], { cwd: state.path, env: { XDG_CONFIG_HOME: state.path } }, 2, '`expo-build login`'],
    [['watch', 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['logs', 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['download', 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['upload', 'b_unknown'], as(secret), 2, 'there is no build b_unknown'],
    [['submit', 'nowhere'], as(secret), 2, 'nowhere is not a folder'],
    [['pack', '--list', 'nowhere'], as(secret), 2, 'nowhere is not a folder'],
    [['explain', 'nowhere'], as(secret), 2, 'nowhere is not a folder'],
    [['init', 'nowhere'], as(secret), 2, 'nowhere is not a folder'],
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
  await using hostile = await hostileAnswers(controller.url);
  const run = as(controller.secrets.ADMIN_KEY, hostile.url);
  await asAdmin(['version', 'set', 'ios', 'com.example.shop', '41', '--project', 'shop']);
  await asAdmin(['secrets', 'set', 'TOKEN', '--project', 'shop'], { input: 'x' });
  writeFileSync(join(state.path, 'account.json'), serviceAccount());
  const playKey = ['play', '--platform', 'android', '--app', 'com.example.shop', '--file', 'account.json'];
  const commands = [
    ['list'],
    ['status', ids.failed],
    ['status', ids.queued],
    ['retry', ids.succeeded],
    ['cancel', ids.queued],
    ['cancel', 'b_unknown'],
    ['workers'],
    ['open', ids.succeeded],
    ['links', 'list', ids.succeeded],
    ['version', 'get', '--project', 'shop'],
    ['version', 'get'],
    ['secrets', 'list', '--project', 'shop'],
    ['secrets', 'rm', 'TOKEN', '--project', 'shop'],
    // The stores do not answer, of which it warns.
    ['store-keys', 'set', ...playKey, '--project', 'shop'],
    ['store-keys', 'list', '--project', 'shop'],
    ['store-keys', 'rm', 'play', '--project', 'shop'],
    ['login', '--url', hostile.url, '--key-stdin'],
  ];
  for (const args of commands) {
    const ended = await expoBuild(args, { ...run, input: args[0] === 'login' ? controller.secrets.ADMIN_KEY : '' });
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

/** An account of this machine, with nothing stored. */
function account() {
  const dir = temporaryDir();
  const path = join(dir.path, 'expo-build', 'settings.json');
  const run = (args: string[], { env, input }: { env?: NodeJS.ProcessEnv; input?: string } = {}) =>
    expoBuild(args, {
      cwd: dir.path,
      env: { XDG_CONFIG_HOME: dir.path, ...env },
      ...(input !== undefined && { input }),
    });
  return { path, run, folder: dir.path, [Symbol.dispose]: dir[Symbol.dispose] };
}

test('login checks the key, says what it may do, and keeps it where this account alone can read it', async () => {
  using it = account();
  const rights = { projects: ['shop'], pools: ['default'], trusted: true, may: ['secrets.set', 'numbers'] };
  const { secret } = await call<{ secret: string }>('POST', '/api/keys', {
    name: 'CI \u001b[31mof shop',
    scope: 'submit',
    ...rights,
  });
  // The program itself, which gets the key by a pipe.
  const { code, stdout, stderr } = await expoBuildProcess(['login', '--url', `${controller.url}/`, '--key-stdin'], {
    ...{ cwd: it.folder, env: { XDG_CONFIG_HOME: it.folder }, input: `${secret}\n` },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(`controller  ${controller.url}
key         CI of shop (scope submit)
may         request, cancel and retry builds, and read their logs and artifacts; set stored secrets; set build numbers
projects    shop
pools       default
expires     never

Kept in ${it.path}, which only your account can read.
`);
  expect(statSync(it.path).mode & 0o777).toBe(0o600);
  expect(statSync(join(it.folder, 'expo-build')).mode & 0o777).toBe(0o700);
  expect(JSON.parse(readFileSync(it.path, 'utf8'))).toEqual({ url: controller.url, key: secret });

  const again = await it.run(['login', '--url', controller.url, '--key-stdin', '--json'], { input: secret });
  expect(jsonLinesOf(again)).toMatchObject([{ type: 'login', url: controller.url, projects: [{ name: 'shop' }] }]);
  expect(JSON.stringify(again)).not.toContain(secret);
  expect(jsonLinesOf(await it.run(['login', '--forget', '--json']))).toEqual([{ type: 'forgotten', wasStored: true }]);
  expect(existsSync(it.path)).toBe(false);
});

test('a key that is wrong or of a Mac is not kept, and a controller that is not there ends with 5', async () => {
  using it = account();
  const { key } = await call<{ key: string }>('POST', '/api/workers', { name: 'other-mac' });
  const login = (url: string, input: string) => it.run(['login', '--url', url, '--key-stdin', '--json'], { input });
  const ended = [
    await login(controller.url, 'tb_submit_wrong'),
    await login(controller.url, key),
    await login(controller.url, 'two words'),
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
  const { secret } = await keyOfShop(['secrets.set', 'secrets.use']);
  const explained = async (...args: string[]) => {
    const ended = await expoBuild(['explain', dir.path, '--json', ...args], as(secret));
    const lines = jsonLinesOf(ended);
    return {
      stdout: ended.stdout,
      code: ended.code,
      whole: lines[0],
      secrets: lines.filter(({ type }) => type === 'explained_secret'),
    };
  };
  const set = (args: string[], input = '') => expoBuild(['secrets', 'set', ...args], { ...as(secret), input });
  const offline = await explained('--profile', 'expo', '--offline');
  expect(offline).toMatchObject({ code: 2, secrets: [{ name: 'EXPO_TOKEN', is: 'missing' }] });
  await set(['EXPO_TOKEN'], 'a token');
  expect(await explained('--profile', 'expo')).toMatchObject({
    code: 0,
    secrets: [{ name: 'EXPO_TOKEN', is: 'stored' }],
  });
  await set(['DIST', '--file', join(state.path, 'source'), '--path', 'dist.p12']);
  await asAdmin(['version', 'set', 'ios', 'com.example.shop', '41', '--project', 'shop']);
  expect(await explained('--profile', 'own')).toMatchObject({
    ...{ code: 0, whole: { engine: 'plugin', refusal: null } },
    stdout: expect.stringContaining('The counter of com.example.shop has 41. A build that begins now gets 42.'),
    secrets: [
      { name: 'dist.p12', is: 'stored' },
      { name: 'P12_PASSWORD', is: 'missing' },
    ],
  });
});

test('on a terminal the key and the value of a secret are asked for and not shown', async () => {
  using it = account();
  const { secret } = await keyOfShop(['secrets.set']);
  const env = { XDG_CONFIG_HOME: it.folder };
  {
    using terminal = startOnTerminal(['login'], { env });
    await terminal.shows('Address of the controller');
    terminal.type(`${controller.url}\r`);
    await terminal.shows('masked');
    terminal.type(`${secret}\r`);
    await terminal.shows('Kept in');
    expect([await terminal.ended, terminal.stdout().includes(secret)]).toEqual([0, false]);
  }
  {
    using terminal = startOnTerminal(['secrets', 'set', 'TOKEN', '--project', 'shop'], { env });
    await terminal.shows('Value of TOKEN');
    terminal.type('not-to-be-shown\r');
    await terminal.shows('pool default');
    expect([await terminal.ended, terminal.stdout().includes('not-to-be-shown')]).toEqual([0, false]);
  }
  {
    using terminal = startOnTerminal(['login'], { env });
    await terminal.shows('Address of the controller');
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(130);
  }
});

test('on a terminal `open` shows a QR code and opens the page in the browser', async () => {
  const { secret } = await keyOfShop(['links']);
  using dir = temporaryDir();
  // Each system has its own program for it.
  for (const name of ['xdg-open', 'open'])
    writeFileSync(join(dir.path, name), `#!/bin/sh\nprintf '%s' "$*$EXPO_BUILD_KEY" > ${dir.path}/opened\n`, {
      mode: 0o755,
    });
  const env = { ...as(secret).env, PATH: `${dir.path}:${process.env.PATH}` };
  using terminal = startOnTerminal(['open', ids.succeeded], { env, columns: 100, rows: 50 });
  await terminal.shows('ends it');
  const url = /http\S+/.exec(terminal.stdout())![0];
  const opened = () => (existsSync(join(dir.path, 'opened')) ? readFileSync(join(dir.path, 'opened'), 'utf8') : '');
  await until(() => opened() !== '', 'the browser');
  expect(opened()).toBe(url);
  expect(terminal.stdout()).toMatch(/█ █ {3}█ █/);
  expect((await fetch(url)).status).toBe(200);
  const plain = await expoBuild(['open', ids.succeeded], { ...as(secret), env });
  expect(plain.stdout).toMatch(/^http\S+\n$/);
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

test.each([[['list']], [['upload', 'b_1']]])('Ctrl-C ends %j, which waits for an answer', async (args) => {
  const requests: string[] = [];
  const silent = createServer((request) => void requests.push(request.url ?? ''));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(silent.address() as { port: number }).port}`;
  using command = start([...args, '--json'], { env: { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: 'tb_submit_x' } });
  await until(() => requests.length > 0, 'the request');
  command.signal('SIGINT');
  expect(await command.ended).toBe(130);
  expect(command.stderr()).toBe('expo-build: stopped\n');
  silent.closeAllConnections();
  await new Promise((resolve) => silent.close(resolve));
});
