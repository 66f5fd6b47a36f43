/** Runs `submit` as a program: at a terminal, until Ctrl-C, and with code of the project that Node loads. */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../worker-agent/factories/until.ts';
import { faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';
import { idsIn, submitting } from './factories/app-to-submit.ts';
import { expoBuildProcess, start, startOnTerminal } from './factories/started.ts';

const { controller, api, call, app } = await submitting();

test('code of the project runs for a fingerprint only at a terminal or if asked, and only if the cache takes it', async () => {
  const hash = 'a1'.repeat(20);
  const eas = { build: { dev: { developmentClient: true, ios: { simulator: true } }, production: {} } };
  using it = app((tree) => tree.write({ 'eas.json': JSON.stringify(eas), '.gitignore': 'node_modules\nran\n' }));
  const own = 'node_modules/@expo/fingerprint';
  it.tree.write({
    [`${own}/package.json`]: '{"name":"@expo/fingerprint","version":"0.0.0","main":"index.js"}',
    [`${own}/index.js`]: `exports.createFingerprintAsync = async (root) => {
      require('fs').writeFileSync(root + '/ran', '');
      return { hash: '${hash}' };
    };`,
  });
  await call('POST', '/api/projects', { name: 'cached' });
  const keyOf = async (rights: object) =>
    (await call('POST', '/api/keys', { name: 'one', scope: 'submit', projects: ['cached'], ...rights })).secret;
  const writer = await keyOf({ trusted: true, may: ['caches.write'] });
  const others = [await keyOf({ trusted: true, may: [] }), await keyOf({ trusted: false, may: [] })];
  const env = (key: string) => it.env(controller.url, key);
  const DEV = ['--no-wait', '--project', 'cached', '--profile', 'dev'];
  const outcome = async (id: string) => {
    const { fingerprint } = await api.build(id);
    const ran = existsSync(join(it.path, 'ran'));
    if (ran) it.tree.remove('ran');
    return [fingerprint, ran ? 'ran' : 'not run'];
  };
  const submitted = async (key: string, args: string[], variables: NodeJS.ProcessEnv = {}, run = it.run) => {
    const ended = await run([...DEV, ...args], { ...env(key), ...variables });
    expect(ended.code, ended.stderr).toBe(0);
    return [...(await outcome(idsIn(ended)[0]!)), ended.stderr];
  };
  const atTerminal = async (key: string, variables: NodeJS.ProcessEnv = {}) => {
    using run = startOnTerminal(['submit', ...DEV], { cwd: it.path, env: { ...env(key), ...variables } });
    expect(await run.ended, run.stdout()).toBe(0);
    return await outcome(/\b(b_\w+): ios/.exec(run.stdout())![1]!);
  };
  const asProgram = (args: string[], variables?: NodeJS.ProcessEnv) =>
    expoBuildProcess(['submit', ...args], { cwd: it.path, env: { ...it.env(), ...variables } });
  const none = [null, 'not run'];
  const unsaid = [...none, expect.not.stringContaining('build cache')];
  expect(await submitted(writer, [])).toEqual(unsaid);
  expect(await submitted(writer, ['--fingerprint', 'b2'.repeat(20)])).toEqual(['b2'.repeat(20), ...unsaid.slice(1)]);
  expect(await submitted(writer, ['--fingerprint', 'auto'])).toEqual([hash, 'ran', unsaid[2]]);
  const why = (words: string) => [...none, expect.stringContaining(`build cache will not have this build: ${words}`)];
  for (const key of others) expect(await submitted(key, ['--fingerprint', 'auto'])).toEqual(why('your key is not'));
  const comment = { GITHUB_ACTIONS: 'true', GITHUB_EVENT_NAME: 'issue_comment' };
  expect(await submitted(writer, ['--fingerprint', 'auto'], comment)).toEqual(why('its source is not trusted'));
  expect(await atTerminal(writer)).toEqual([hash, 'ran']);
  expect(await atTerminal(writer, { CI: 'true' })).toEqual(none);
  expect(await atTerminal(others[1]!)).toEqual(none);
  it.tree.remove(own);
  // In this process Node remembers where it has found the module.
  const without = await submitted(writer, ['--fingerprint', 'auto'], {}, asProgram);
  expect(without).toEqual(why('@expo/fingerprint is not installed'));
});

test('Ctrl-C after an answer got lost cancels the build of that answer', async () => {
  using it = app();
  await using proxy = await faultyProxy(controller.url);
  let asked = 0;
  let isStopped = false;
  proxy.fault = ({ method, path }) => {
    if (method !== 'POST' || path !== '/api/builds') return undefined;
    asked++;
    return asked === 1 ? 'lose answer' : isStopped ? undefined : 'refuse';
  };
  using submit = start(['submit', '--project', 'shop', '--label', 'test=stopped'], {
    ...{ cwd: it.path, env: it.env(proxy.url) },
  });
  await submit.shows('Waiting for it.');
  isStopped = true;
  submit.signal('SIGINT');
  expect(await submit.ended).toBe(130);
  const { builds } = await api.list({ limit: '100' });
  const made = builds.filter(({ labels }) => labels.test === 'stopped');
  expect(made.map(({ status }) => status)).toEqual(['cancelled']);
  expect(submit.stderr()).toMatch(new RegExp(`${made[0]!.id} was cancelled again\\.\nexpo-build: stopped\n$`));
});

test('Ctrl-C while it packs, uploads or asks ends it with 130 and leaves nothing', async () => {
  using it = app((tree) => tree.write({ 'large.bin': 'x'.repeat(3_000_000) }));
  for (const stuckAt of ['GET', 'PUT']) {
    let stuck = false;
    const server = createServer((request, response) => {
      if (request.method === stuckAt) stuck = true;
      else
        response
          .writeHead(404, { 'content-type': 'application/json' })
          .end('{"error":{"code":"not_found","message":"no"}}');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    using submit = start(['submit', '--project', 'shop'], {
      ...{ cwd: it.path, env: it.env(`http://127.0.0.1:${port}`) },
    });
    await until(() => stuck, `${stuckAt} arrives`);
    expect(readdirSync(it.tmp).filter((name) => name.startsWith('expo-build-source-'))).toHaveLength(1);
    submit.signal('SIGINT');
    expect([await submit.ended, submit.stderr()]).toEqual([130, 'expo-build: stopped\n']);
    expect(readdirSync(it.tmp)).toEqual([]);
    server.closeAllConnections();
    server.close();
  }
});

test('a terminal that is closed while it uploads leaves no archive on the disk', async () => {
  using it = app();
  let stuck = false;
  const server = createServer((request, response) => {
    if (request.method === 'PUT') stuck = true;
    else response.writeHead(404).end('{"error":{"code":"not_found","message":"no"}}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  using submit = startOnTerminal(['submit', '--project', 'shop'], {
    ...{ cwd: it.path, env: it.env(`http://127.0.0.1:${port}`) },
  });
  await until(() => stuck, 'the upload begins');
  const archives = () => readdirSync(it.tmp).filter((name) => name.startsWith('expo-build-source-'));
  expect(archives()).toHaveLength(1);
  submit.signal('SIGKILL');
  await until(() => archives().length === 0, 'the archive is deleted');
  server.closeAllConnections();
  server.close();
});
