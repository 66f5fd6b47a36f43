import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { clearFault, faultNextClone, setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { testWith } from '../../set-up/test-with.ts';
import { until } from '../factories/until.ts';
import { BASE, simulatedMac } from './simulated-mac.ts';

const onTerminal = testWith('script');

/** Tart's message when no guest agent answers, 10 s later. */
const UNREACHABLE =
  'Failed to connect to the VM using its control socket: The operation couldn’t be completed. ' +
  '(GRPC.GRPCConnectionPoolError error 1.), is the Tart Guest Agent running?';

test('exec runs a command in the VM, with its own words, output and exit code', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const words = ['/bin/sh', '-c', 'echo "$HOME: $1"; echo bad >&2; exit 7', 'sh', "two  words, 'quoted'"];
  const ended = await mac.tart('exec', 'vm', ...words);
  const home = join(mac.folder('vm'), 'guest', 'Users', 'builder');
  expect(ended).toEqual({ exitCode: 7, stdout: `${home}: two  words, 'quoted'`, stderr: 'bad' });
  expect(await mac.tart('exec', 'vm', 'nothing-of-this-name')).toMatchObject({ exitCode: 127 });
  expect(existsSync(join(mac.folder('vm'), 'control.sock'))).toBe(true);
});

test('exec passes on its input only with -i, and all of it', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const input = 'x'.repeat(3_000_000);
  const env = { TART_HOME: mac.home };
  const asked = await execa(TART_SIMULATOR_PATH, ['exec', '-i', 'vm', 'cat'], { env, input });
  expect(asked.stdout === input).toBe(true);
  const alone = await execa(TART_SIMULATOR_PATH, ['exec', 'vm', 'cat'], { env, input: 'unread' });
  expect(alone.stdout).toBe('');
});

onTerminal('exec -it gives a terminal, whose shell ends with its exit code', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const env = { TART_HOME: mac.home };
  const shell = execa(TART_SIMULATOR_PATH, ['exec', '-it', 'vm', 'bash', '--norc'], { env, reject: false });
  let printed = '';
  shell.stdout.on('data', (bytes: Buffer) => (printed += bytes));
  shell.stdin.write('tty; stty size; [ -t 0 ] && echo "it is one"\n');
  await until(() => /\/dev\/\S+\r\n24 80\r\nit is one\r\n/.test(printed), 'the shell has a terminal');
  shell.stdin.write('exit 5\n');
  expect(await shell).toMatchObject({ exitCode: 5 });
});

test('a command ends with the exec that asked for it', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const child = spawn(TART_SIMULATOR_PATH, ['exec', 'vm', 'sleep', '777'], {
    env: { ...process.env, TART_HOME: mac.home },
    stdio: 'ignore',
  });
  const sleeps = () => mac.processes().filter(({ commandLine }) => commandLine === 'sleep 777').length;
  await until(() => sleeps() === 1, 'the command runs');
  child.kill('SIGKILL');
  await until(() => sleeps() === 0, 'the command has ended');
});

test('exec of a VM that does not run, has no guest agent or is frozen fails like Tart', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'stopped');
  expect(await mac.tart('exec', 'stopped', 'true')).toMatchObject({
    exitCode: 2,
    stderr: 'VM "stopped" is not running',
  });
  faultNextClone(mac.home, 'no-guest-agent');
  await mac.boot('bare');
  await mac.boot('frozen');
  expect(await mac.tart('exec', 'frozen', 'true')).toMatchObject({ exitCode: 0 });
  setFault(mac.home, 'frozen', 'freeze');
  await until(() => mac.isFrozen('frozen'), 'it is frozen');
  const unreachable = { exitCode: 1, stdout: '', stderr: UNREACHABLE };
  expect(await Promise.all(['bare', 'frozen'].map((name) => mac.tart('exec', name, 'true')))).toEqual([
    unreachable,
    unreachable,
  ]);
  clearFault(mac.home, 'frozen', 'freeze');
  expect(await mac.tart('exec', 'frozen', 'true')).toMatchObject({ exitCode: 0 });
});

test('exec waits for a guest agent that is not there yet, and breaks when the VM ends', async () => {
  await using mac = await simulatedMac();
  faultNextClone(mac.home, 'no-guest-agent');
  await mac.boot('vm');
  const { ended } = mac.start('exec', 'vm', 'true');
  clearFault(mac.home, 'vm', 'no-guest-agent');
  expect(await ended).toMatchObject({ exitCode: 0 });
  const broken = mac.tart('exec', 'vm', 'sleep', '778');
  await until(() => mac.processes().some(({ commandLine }) => commandLine === 'sleep 778'), 'the command runs');
  setFault(mac.home, 'vm', 'crash');
  expect(await broken).toMatchObject({ exitCode: 1, stderr: 'Error: unavailable (14): Transport became inactive' });
});

test('net-gone: nothing passes over the network, and exec answers', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  setFault(mac.home, 'vm', 'net-gone');
  const fetch = ['curl', '-sS', '--max-time', '1', 'http://192.168.64.1:1/'];
  await until(async () => (await mac.tart('exec', 'vm', ...fetch)).exitCode === 28, 'nothing is forwarded');
  await expect(mac.connect('vm', { readyTimeout: 1_000 })).rejects.toThrow(/Timed out/);
  const answer = ssh.exec('echo over SSH');
  expect(await mac.tart('exec', 'vm', 'echo', 'over exec')).toMatchObject({ exitCode: 0, stdout: 'over exec' });
  clearFault(mac.home, 'vm', 'net-gone');
  expect((await answer).stdout).toBe('over SSH\n');
});

test('a clone takes over no control socket', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  expect(await mac.tart('clone', 'vm', 'copy')).toMatchObject({ exitCode: 0 });
  expect(existsSync(join(mac.folder('copy'), 'control.sock'))).toBe(false);
});
