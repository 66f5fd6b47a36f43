import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { processStartTime } from '../../../worker-agent/mac/process-identity.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';
import { wholeLines } from '../factories/whole-lines.ts';

test('a run is detached, writes to its file, and its end is noticed with its exit code and its words', async () => {
  using scripted = scriptedTart({
    run: 'echo "booting $*"; while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done; echo "it broke" >&2; exit 1',
  });
  const logFile = join(scripted.dir, 'runs', 'x.log');
  const started = await scripted.tart.startRun('x', { logFile });
  if (!started.ok) throw new Error(started.message);
  const { run } = started;
  expect(await processStartTime(run.pid)).toBe(run.startTime);
  writeFileSync(join(scripted.dir, 'end'), '');
  expect(await scripted.tart.waitForRunExit(run)).toEqual({ exitCode: 1 });
  expect(await processStartTime(run.pid)).toBeNull();
  const why = await scripted.tart.explainRunExit(logFile, 1);
  expect(why).toMatchObject({ step: 'run', kind: 'failed' });
  expect(why.message).toContain('booting run x --no-graphics');
  expect(why.message).toContain('it broke');
});

test('the exit code of a run that ended before anybody waited for it is known', async () => {
  using scripted = scriptedTart({
    run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done; exit 3',
  });
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  writeFileSync(join(scripted.dir, 'end'), '');
  await until(() => !isKnown(started.run.pid), 'the end of the run');
  expect(await scripted.tart.waitForRunExit(started.run)).toEqual({ exitCode: 3 });
  expect(await scripted.tart.waitForRunExit({ ...started.run })).toEqual({ exitCode: null });
});

/** Also true for a process that has ended and that nobody has asked for its exit code. */
function isKnown(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("neither the agent's death nor Ctrl-C in its terminal takes the VM with it", async () => {
  using scripted = scriptedTart({ run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done' });
  const module = new URL('../../../worker-agent/tart/tart.ts', import.meta.url).href;
  const script = `import { createTart } from '${module}';
    const tart = createTart({ tartPath: ${JSON.stringify(scripted.tartPath)} });
    console.log(JSON.stringify(await tart.startRun('x', { logFile: ${JSON.stringify(join(scripted.dir, 'log'))} })));
    setInterval(() => {}, 1000);`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(agent.stdout!, 'data');
  const { run } = JSON.parse(String(line));
  const gone = once(agent, 'exit');
  process.kill(-agent.pid!, 'SIGINT');
  process.kill(-agent.pid!, 'SIGKILL');
  await gone;
  expect(await processStartTime(run.pid)).toBe(run.startTime);
  writeFileSync(join(scripted.dir, 'end'), '');
  await scripted.tart.waitForRunExit(run);
});

test("another agent's run is watched by looking, and the wait can be given up", async () => {
  using scripted = scriptedTart({ run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done' });
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const stranger = createTart({ tartPath: scripted.tartPath });
  const abort = new AbortController();
  const waiting = stranger.waitForRunExit(started.run, abort.signal);
  abort.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  const ended = stranger.waitForRunExit(started.run);
  writeFileSync(join(scripted.dir, 'end'), '');
  expect(await ended).toEqual({ exitCode: null });
});

/**
 * Puts a `ps` before the system's that notes its calls, and makes this process believe that it runs on a Mac.
 * The `ps` first runs the script `ps-first`, if the test has written one.
 */
function onMacWithCountedPs(dir: string) {
  const calls = join(dir, 'ps-calls');
  const first = join(dir, 'ps-first');
  const { PATH } = process.env;
  mkdirSync(join(dir, 'bin'));
  const script = `#!/bin/sh
echo "$*" >>'${calls}'
[ ! -e '${first}' ] || . '${first}'
PATH='${PATH}' exec ps "$@"
`;
  writeFileSync(join(dir, 'bin/ps'), script, { mode: 0o755 });
  process.env.PATH = `${join(dir, 'bin')}:${PATH}`;
  const platform = Object.getOwnPropertyDescriptor(process, 'platform')!;
  Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' });
  return {
    calls: () => wholeLines(calls),
    [Symbol.dispose]() {
      process.env.PATH = PATH;
      Object.defineProperty(process, 'platform', platform);
    },
  };
}

test("another agent's run is watched for seconds with one ps, and its end is noticed", async () => {
  using scripted = scriptedTart({ run: 'sleep 4 & while kill -0 $! 2>/dev/null; do sleep 0.05; done' });
  using ps = onMacWithCountedPs(scripted.dir);
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const before = ps.calls().length;
  const stranger = createTart({ tartPath: scripted.tartPath });
  expect(await stranger.waitForRunExit(started.run)).toEqual({ exitCode: null });
  expect(ps.calls().slice(before)).toEqual([`-o stat=,lstart= -p ${started.run.pid}`]);
});

test("another agent's run is not taken for ended because ps gave no answer", async () => {
  using scripted = scriptedTart({ run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done' });
  using ps = onMacWithCountedPs(scripted.dir);
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const { run } = started;
  writeFileSync(join(scripted.dir, 'ps-first'), 'kill -KILL $$');
  const before = ps.calls().length;
  const stranger = createTart({ tartPath: scripted.tartPath });
  const livedAtEnd = stranger.waitForRunExit(run).then(() => isKnown(run.pid));
  await until(() => ps.calls().length > before, 'ps is asked');
  writeFileSync(join(scripted.dir, 'end'), '');
  expect(await livedAtEnd).toBe(false);
});

test('a run whose start time ps does not tell is ended, and the start fails', async () => {
  using scripted = scriptedTart({ run: 'echo $$ >"$HOME_DIR/pid"; while [ -d "$HOME_DIR" ]; do sleep 0.05; done' });
  const { dir } = scripted;
  using _ps = onMacWithCountedPs(dir);
  writeFileSync(join(dir, 'ps-first'), `until [ -s '${dir}/pid' ]; do sleep 0.05; done; kill -KILL $$`);
  const started = await scripted.tart.startRun('x', { logFile: join(dir, 'log') });
  expect(started).toMatchObject({ ok: false, step: 'run', message: expect.stringContaining('did not tell when') });
  await until(() => !isKnown(Number(readFileSync(join(dir, 'pid'), 'utf8'))), 'the end of the run');
});

test('a run that does not stop is killed with a handful of ps, and a later process of its pid is not', async () => {
  using scripted = scriptedTart({
    run: `trap '' INT TERM; while [ -d "$HOME_DIR" ]; do sleep 0.05; done`,
    list: 'echo "[]"',
  });
  using ps = onMacWithCountedPs(scripted.dir);
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const { run } = started;
  expect(await scripted.tart.remove('x', { run: { ...run, startTime: 'another' } })).toEqual({ ok: true });
  expect(await processStartTime(run.pid)).toBe(run.startTime);
  const before = ps.calls().length;
  expect(await scripted.tart.remove('x', { run })).toEqual({ ok: true });
  await scripted.tart.waitForRunExit(run);
  expect(ps.calls().length - before).toBeLessThanOrEqual(4);
});

test('a run that does not stop is killed as soon though the clock of the Mac is set back', async () => {
  using scripted = scriptedTart({
    run: `trap '' INT TERM; while [ -d "$HOME_DIR" ]; do sleep 0.05; done`,
    list: 'echo "[]"',
  });
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const { run } = started;
  const atMs = Date.now();
  const clock = vi
    .spyOn(Date, 'now')
    .mockImplementation(() => atMs - 3_600_000)
    .mockReturnValueOnce(atMs);
  onTestFinished(() => clock.mockRestore());
  expect(await scripted.tart.remove('x', { run })).toEqual({ ok: true });
  await scripted.tart.waitForRunExit(run);
});

/** Behaves as sudo does: it waits beside the command, and leaves it running when it is killed itself. */
const SUDO = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; "$@" & wait $!\n';

test('where root hands tart to an account, the run is tart itself and not its wrapper', async () => {
  using scripted = scriptedTart({
    list: `if [ -e "$HOME_DIR/vm" ]; then echo '[{"Name":"x","Source":"local","State":"running"}]'; else echo '[]'; fi`,
    run: `trap '' INT TERM; echo $$ >"$HOME_DIR/pid"; while [ -d "$HOME_DIR" ]; do sleep 0.1; done`,
    stop: 'exit 0',
    delete: 'rm "$HOME_DIR/vm"',
  });
  const { dir, tartPath } = scripted;
  const commands = { launchctl: join(dir, 'launchctl'), sudo: join(dir, 'sudo') };
  writeFileSync(commands.launchctl, '#!/bin/sh\nshift 2; exec "$@"\n', { mode: 0o755 });
  writeFileSync(commands.sudo, SUDO, { mode: 0o755 });
  const tart = createTart({ tartPath, tartHome: dir, user: { name: 'builder', uid: 501, commands } });
  writeFileSync(join(dir, 'vm'), '');
  const started = await tart.startRun('x', { logFile: join(dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const pid = () => (existsSync(join(dir, 'pid')) ? Number(readFileSync(join(dir, 'pid'), 'utf8')) : 0);
  await until(() => pid() > 0, 'tart runs');
  expect(started.run.pid).toBe(pid());
  expect(await tart.remove('x', { run: started.run })).toEqual({ ok: true });
  await until(async () => (await processStartTime(pid())) === null, 'tart itself is gone');
  expect((await tart.waitForRunExit(started.run)).exitCode).not.toBe(0);
});

test('the two-VM limit is read from the log of the run', async () => {
  using scripted = scriptedTart({ run: 'echo "The number of VMs exceeds the system limit" >&2; exit 1' });
  const logFile = join(scripted.dir, 'log');
  const started = await scripted.tart.startRun('x', { logFile });
  if (started.ok) await scripted.tart.waitForRunExit(started.run);
  expect((await scripted.tart.explainRunExit(logFile, 1)).kind).toBe('vm_limit');
});
