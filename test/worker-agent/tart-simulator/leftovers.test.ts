import { expect, test } from 'vitest';
import { listRuns } from '../../../worker-agent/tart-simulator/processes/runs.ts';
import { until } from '../factories/until.ts';
import { simulatedMac } from './simulated-mac.ts';

/** A build that hides its processes: own sessions, no environment, parents that have ended. */
const STUBBORN = `
  sleep 301 &
  setsid sleep 302 </dev/null >/dev/null 2>&1 &
  (setsid sh -c 'sleep 303 & sleep 304' </dev/null >/dev/null 2>&1 &)
  env -i /bin/sh -c 'sleep 305 & sleep 306' </dev/null >/dev/null 2>&1 &
  trap '' TERM HUP INT
  sleep 307`;

async function busyVm(mac: Awaited<ReturnType<typeof simulatedMac>>) {
  const vm = await mac.boot('vm');
  void vm.ssh.exec(STUBBORN).catch(() => {});
  const sleepers = () => mac.processes().filter(({ commandLine }) => /^sleep 30\d$/.test(commandLine));
  await until(() => sleepers().length === 7, 'the build is busy');
  // A scan each 200 ms remembers processes without an environment. A build that is quicker may escape.
  const remembered = () => new Set(listRuns(mac.home).flatMap((run) => run.members.map(({ pid }) => pid)));
  await until(() => sleepers().every(({ pid }) => remembered().has(pid)), 'the simulator remembers all of it');
  return vm;
}

const victims = {
  'tart run': (commandLine: string) => /^tart run vm/.test(commandLine),
  'the guest': (commandLine: string) => commandLine.includes('guest.ts'),
};

for (const [who, matches] of Object.entries(victims))
  test(`kill -9 of ${who} leaves nothing behind`, async () => {
    await using mac = await simulatedMac();
    const vm = await busyVm(mac);
    const found = mac.processes().filter(({ commandLine }) => matches(commandLine));
    expect(found).toHaveLength(1);
    process.kill(found[0]!.pid, 'SIGKILL');
    await vm.ended;
    await mac.nothingLives();
    expect((await mac.tart('list')).stdout).toMatch(/vm .* stopped$/m);
  });

test('kill -9 of the reaper brings another one, which does its work', async () => {
  await using mac = await simulatedMac();
  const vm = await busyVm(mac);
  const reaper = () => mac.processes().find(({ commandLine }) => commandLine.includes('tart-reaper'))?.pid;
  const first = reaper()!;
  process.kill(first, 'SIGKILL');
  await until(() => ![undefined, first].includes(reaper()), 'another reaper');
  process.kill(vm.pid, 'SIGKILL');
  await mac.nothingLives();
});

test('what is left after tart run and its reaper were both killed, the next command ends', async () => {
  await using mac = await simulatedMac();
  const vm = await busyVm(mac);
  const pids = mac.processes().filter(({ commandLine }) => /tart-reaper|^tart run/.test(commandLine));
  process.kill(vm.pid, 'SIGSTOP'); // so that it cannot start another one
  for (const { pid } of pids.filter(({ pid }) => pid !== vm.pid)) process.kill(pid, 'SIGKILL');
  process.kill(vm.pid, 'SIGKILL');
  await vm.ended;
  expect((await mac.tart('list')).exitCode).toBe(0);
  expect(mac.processes()).toEqual([]);
});

test('a stop ends all that a build has started', async () => {
  await using mac = await simulatedMac();
  await busyVm(mac);
  await mac.tart('stop', 'vm');
  await mac.nothingLives();
});
