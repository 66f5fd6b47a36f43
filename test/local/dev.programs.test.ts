import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { FIXTURE } from '../../local/dev/fixture.ts';
import { freePort } from '../../local/farm/free-port.ts';
import { processesBelow } from '../../local/farm/leftovers.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { QUIET, WRANGLER } from '../../local/farm/wrangler.ts';
import { MONITOR, start } from '../vm-image/factories/guest-script.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';

const PATIENCE_MS = 120_000;
const { build, worker, key } = FIXTURE;

/** The real script, with a folder of its own in place of the repository's. */
function startDev(
  ...args: string[]
): AsyncDisposable & { said: () => string; child: ChildProcess; ended: Promise<number | null> } {
  const child = spawn(process.execPath, [join(PROJECT_ROOT, 'local/dev.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const ended = once(child, 'close').then(([exitCode]) => exitCode as number | null);
  return {
    child,
    ended,
    said: () => output,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const says = (it: { said: () => string }, words: string | RegExp) =>
  until(() => it.said().match(words), `it says ${words}; it has said\n${it.said()}`, PATIENCE_MS).catch(
    (error: Error) => {
      throw new Error(`${error.message}\n${it.said()}`);
    },
  );

function monitor(url: string, buildId: string, workerId: string, apiKey: string, state: string) {
  const env = { TARTBEAT_STATE: state, TARTBEAT_REQUEST_LIMIT: '20' };
  const script = start('bash', MONITOR, [url, buildId, workerId, apiKey, '10'], env);
  return Object.assign(script, { said: () => script.lines().join('\n') });
}

test('the hand test of the monitor works as printed, and the fixture is set back when it has ended', {
  timeout: 600_000,
}, async () => {
  using dir = temporaryDir();
  using state = temporaryDir();
  const port = await freePort();
  await using dev = startDev('--port', String(port), '--dir', dir.path);
  await says(dev, 'Ctrl-C stops it');
  expect(dev.said()).toContain(`vm-image/vm-monitor.sh http://localhost:${port} ${build} ${worker} ${key} 10`);

  const devVars = join(dir.path, '.dev.vars');
  expect(statSync(devVars).mode & 0o777).toBe(0o600);
  const { ADMIN_KEY = '' } = parseEnv(readFileSync(devVars, 'utf8'));
  expect(ADMIN_KEY).toMatch(/^tb_admin_.{40,}/);
  const url = `http://localhost:${port}`;
  const api = new BuildsClient(new Connection({ url: url, key: ADMIN_KEY }));
  expect(await api.build(build)).toMatchObject({ status: 'building' });
  expect(Object.entries((await api.build(build)).timeouts).filter(([, ms]) => ms !== null)).toEqual([
    ['heartbeatTimeoutMs', 120_000],
  ]);

  await using good = monitor(url, build, worker, key, state.path);
  await says(good, 'Heartbeat sent');
  expect(good.lines()).toEqual([
    `[VM Monitor] Starting for build ${build}`,
    `[VM Monitor] Sending heartbeats every 10s to ${url}`,
    '[VM Monitor] Heartbeat sent (progress: 0%)',
  ]);
  const { live, attempt } = await api.build(build);
  expect(live?.vmBeatAt).toMatch(/^\d{4}-/);
  expect(live?.progress).toMatchObject({ percent: 0, origin: 'time' });
  await says(dev, `beat  ${build} attempt ${attempt}, from the vm: accepted`);

  for (const [buildId, workerId, apiKey, refusal] of [
    [build, worker, 'another-key', /HTTP 401 unauthorized/],
    [build, 'another-worker', key, /HTTP 403 forbidden/],
    ['another-build', worker, key, /HTTP 404 not_found/],
  ] as const) {
    using own = temporaryDir();
    await using refused = monitor(url, buildId, workerId, apiKey, own.path);
    await says(refused, refusal);
    expect(refused.said()).not.toContain('Heartbeat sent');
  }

  await api.cancel(build);
  await says(dev, `end   ${build}: .*cancelled.*Setting the build back`);
  await until(async () => (await api.build(build)).attempt > attempt, 'the fixture is set back', PATIENCE_MS);
  expect(await api.build(build)).toMatchObject({ status: 'building', verdict: null, endedAt: null });
  // A worker's key without an attempt means the current one.
  await says(dev, `beat  ${build} attempt ${attempt + 1}, from the vm: accepted`);

  dev.child.kill('SIGINT');
  expect(await dev.ended).toBe(0);
  expect(processesBelow(dir.path)).toEqual([]);
  await says(good, /no answer from http:\/\/localhost/);
});

test('it ends with its controller, and says so', { timeout: 600_000 }, async () => {
  using dir = temporaryDir();
  await using dev = startDev('--port', String(await freePort()), '--dir', dir.path);
  await says(dev, 'Ctrl-C stops it');
  const { stdout } = await execa('pgrep', ['-P', String(dev.child.pid)]);
  // Each of them leads a group of its own.
  for (const pid of stdout.split('\n')) process.kill(-Number(pid), 'SIGKILL');
  await says(dev, 'The controller ended by itself');
  expect(await dev.ended).toBe(1);
});

test('what cannot work is said before anything is touched', async () => {
  using dir = temporaryDir();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as { port: number };
    for (const [args, exitCode, words] of [
      [['--port', String(port)], 69, `Port ${port} of 127.0.0.1 is in use`],
      [['--port', '0'], 64, '--port: 0 is not a port'],
      [['--host', '203.0.113.1'], 69, 'This machine has no address 203.0.113.1'],
      [['--nonsense'], 64, "Unknown option '--nonsense'"],
      [['--help'], 0, 'npm run dev'],
    ] as const) {
      await using dev = startDev('--dir', dir.path, ...args);
      expect(await dev.ended).toBe(exitCode);
      expect(dev.said()).toContain(words);
      expect(dev.said()).not.toContain('    at '); // a stack is for bugs
    }
    expect(readdirSync(dir.path)).toEqual([]);
  } finally {
    server.close();
  }
});

test('the deployed Worker has neither the fixture nor the limits of tests', async () => {
  using dir = temporaryDir();
  await execa(WRANGLER, ['deploy', '--dry-run', '--outdir', dir.path, '-c', 'wrangler.toml'], {
    cwd: PROJECT_ROOT,
    env: QUIET,
  });
  const bundle = globSync('*.js', { cwd: dir.path })
    .map((name) => readFileSync(join(dir.path, name), 'utf8'))
    .join('\n');
  expect(bundle).toContain('createController');
  for (const word of [...Object.values(FIXTURE), 'UNCOUNTED']) expect(bundle).not.toContain(word);
});
