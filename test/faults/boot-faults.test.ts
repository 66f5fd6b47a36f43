/** Tests faults of tart and of the VM before the build command runs. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cause } from '#contract';
import { FaultFarm } from './factories/fault-farm.ts';
import type { Outcome } from './factories/faulty-build.ts';
import type { SeenRequest } from './factories/proxy.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2, diverted: true });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

/** Each step may take a share of it: a clone 30 s, an address 18 s, set and SSH 12 s. */
const timeouts = { bootTimeoutMs: 60_000 };
const isClaim = ({ path }: SeenRequest) => path.endsWith('/claim');
const startFailed = (step: string, cause: Cause = 'unknown'): Outcome => ({ verdict: 'vm_start_failed', step, cause });
const checkFailed = (step: string, cause: Cause = 'unknown'): Outcome => ({
  ...{ verdict: 'health_check_failed', step, cause },
});

const OF_THE_NEXT_VM: [what: string, fault: string, outcome: Outcome][] = [
  ['a VM that never boots', 'boot-hang', checkFailed('vm_address')],
  ['a VM without an address', 'no-ip', checkFailed('vm_address')],
  ['a tart ip that answers garbage', 'ip-garbage', checkFailed('vm_address')],
  ['a VM that refuses SSH', 'no-ssh', checkFailed('ssh', 'sshd_died')],
  ['a VM that accepts SSH and is silent', 'ssh-hang', checkFailed('ssh', 'sshd_died')],
  ['a VM whose network is gone before the build', 'net-gone', checkFailed('ssh', 'vm_network_down')],
  ['a VM whose disk is full before the build', 'disk-full', checkFailed('disk_space', 'disk_full')],
  ['a VM whose network is cut before the build', 'net-cut', checkFailed('controller', 'vm_network_down')],
  // The simulator's message says that the disk of the Mac is full. The VM was never made, so the cause is not
  // vm_exited.
  ['a tart clone that fails', 'clone-fail', startFailed('clone', 'host_disk_full')],
  ['a tart clone that hangs', 'clone-hang', startFailed('clone')],
  ['a tart set that fails', 'set-fail', startFailed('set')],
  ['a tart set that hangs', 'set-hang', startFailed('set')],
  ['a tart run that fails', 'run-fail', startFailed('run')],
  ['a tart run that hangs', 'run-hang', startFailed('run')],
];

for (const [what, fault, outcome] of OF_THE_NEXT_VM)
  test.concurrent(`${what} is ${outcome.verdict}: ${outcome.step}, cause ${outcome.cause}`, async () => {
    await using mac = await macs.take();
    mac.mac.faultNextClone(fault);
    const build = await mac.build({ command: 'echo never', timeouts });
    const { startedAt } = await build.fails(outcome);
    expect(startedAt, 'the command never ran').toBeNull();
    await mac.recovers();
  });

const LIMIT = /exceeds the system limit/;

test.concurrent('a third VM on one Mac hands the build back, and the same Mac builds it when it is ready again', async () => {
  await using mac = await macs.take();
  mac.mac.faultNextClone('run-limit');
  const build = await mac.build({ command: 'echo built', timeouts });
  const { attempts } = await build.reaches(({ handBacks }) => handBacks === 1, 'is handed back');
  expect(attempts).toMatchObject([{ handedBack: true, verdict: { code: 'vm_start_failed', step: 'run' } }]);
  expect(attempts[0]!.verdict!.message).toMatch(LIMIT);
  expect(attempts[0]!.cause?.code).toBe('vm_limit');
  expect((await mac.says('idle', { state: 'not_ready' })).reason).toMatch(LIMIT);
  const isTold = async () => LIMIT.test((await build.read()).waitingFor ?? '');
  await mac.until(isTold, 'whoever waits is told of the limit');
  expect(await build.succeeds('built\n')).toMatchObject({ attempt: 2, maxAttempts: 1, handBacks: 1 });
  await mac.settles();
});

test.concurrent('a Mac that never has a VM hands a build back three times; then it is vm_start_failed: run', async () => {
  await using mac = await macs.take();
  for (let clone = 1; clone <= 4; clone++) mac.mac.faultNextClone('run-limit');
  const build = await mac.build({ command: 'echo never', timeouts });
  const { startedAt, attempts } = await build.fails(startFailed('run', 'vm_limit'));
  expect(startedAt, 'the command never ran').toBeNull();
  expect(attempts.map(({ handedBack }) => handedBack)).toEqual([true, true, true, false]);
  await mac.recovers();
});

for (const fault of ['list-garbage', 'list-hang'])
  test.concurrent(`with ${fault} no VM can be made safely: vm_start_failed: clone`, async () => {
    await using mac = await macs.take();
    const { agent } = mac.ways;
    const before = agent.seen.length;
    agent.treat((request) => (isClaim(request) ? 'answer 500' : 'pass'));
    await mac.until(() => agent.seen.slice(before).some(isClaim), 'no earlier claim is on its way');
    const build = await mac.build({ command: 'echo never', timeouts });
    // The agent claims only while tart lists its VMs. So the fault begins with the claim that gets the build.
    agent.treat((request) => {
      if (isClaim(request)) mac.mac.setFault(mac.baseImage, fault);
      return 'pass';
    });
    await build.fails(startFailed('clone'));
    mac.treat('pass');
    mac.clearFaultOf(mac.baseImage, fault);
    await mac.recovers();
  });

test.concurrent('the address of another VM is health_check_failed: vm_identity', async () => {
  await using mac = await macs.take();
  const { tart } = mac.mac;
  {
    await using _other = await mac.otherVm();
    mac.mac.faultNextClone('stale-ip');
    const build = await mac.build({ command: 'echo never', timeouts });
    const { verdict } = await build.fails(checkFailed('vm_identity'));
    const other = await tart.macAddress('other');
    expect(verdict?.message).toContain(other.ok ? other.macAddress : 'unknown');
  }
  await mac.recovers();
});

test.concurrent('a boot so slow that no step times out but the whole does is boot_timeout', async () => {
  await using mac = await macs.take();
  // Of 80 s a clone may take 40, set 16, an address 24; the checks ask tart list and tart ip once more.
  mac.mac.faultNextClone('clone-slow:32000', 'list-slow:8000', 'ip-slow:18000');
  const build = await mac.build({ command: 'echo never', timeouts: { bootTimeoutMs: 80_000 } });
  const { startedAt } = await build.fails({ verdict: 'boot_timeout', cause: 'unknown' });
  expect(startedAt).toBeNull();
  await mac.recovers();
});

test.concurrent('a VM clock that is an hour off is set', async () => {
  await using mac = await macs.take();
  mac.mac.faultNextClone('clock-skew:3600');
  const build = await mac.build({ command: 'echo $(( $(date +%s) / 1000 ))' });
  await build.succeeds();
  expect((await mac.says('check', { id: 'clock' })).detail).toMatch(/was off by 3[56]\d\d s, now set/);
  const seconds = Number((await build.log()).text) * 1_000;
  expect(Math.abs(seconds - Date.now() / 1_000)).toBeLessThan(1_800);
  await mac.settles();
});

test.concurrent('a VM clock that cannot be set is health_check_failed: clock', async () => {
  await using mac = await macs.take();
  mac.mac.faultNextClone('clock-skew:-3600', 'clock-stuck');
  const build = await mac.build({ command: 'echo never', timeouts });
  await build.fails(checkFailed('clock'));
  await mac.recovers();
});
