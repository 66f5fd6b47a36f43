import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { echoAlive } from '../../../worker-agent/guest/commands.ts';
import { bootVm } from '../../../worker-agent/vm/boot.ts';
import type { BootProgress } from '../../../worker-agent/vm/boot-progress.ts';
import { vmNameOf } from '../../../worker-agent/vm/name.ts';
import { adoptVm, destroyVm, type Vm } from '../../../worker-agent/vm/vm.ts';
import { testWith } from '../../set-up/test-with.ts';
import { scriptedVms } from '../factories/scripted-vm.ts';
import { until } from '../factories/until.ts';

const onGuest = testWith('sshd');
const name = vmNameOf({ workerId: 'mac-1', buildId: 'b1', attempt: 1 });
const never = () => new AbortController().signal;
const aborted = (signal: AbortSignal) =>
  signal.aborted ? Promise.resolve() : new Promise((resolve) => signal.addEventListener('abort', resolve));

async function booted(
  vms: Awaited<ReturnType<typeof scriptedVms>>,
  onStep?: (progress: BootProgress) => void,
): Promise<Vm> {
  const result = await bootVm({ ...vms.options, name, signal: never(), onStep });
  if (!result.ok) throw new Error(result.message);
  return result.vm;
}

onGuest('a boot goes through its five steps and ends with a VM that answers', async () => {
  await using vms = await scriptedVms();
  const steps: string[] = [];
  const journalled: number[] = [];
  const result = await bootVm({
    ...vms.options,
    name,
    signal: never(),
    onStep: ({ step, status }) => steps.push(`${step} ${status}`),
    onRun: async ({ pid }) => void journalled.push(pid),
  });
  if (!result.ok) throw new Error(result.message);
  {
    await using vm = result.vm;
    expect(steps).toEqual(
      ['clone', 'set', 'run', 'address', 'ssh'].flatMap((step) => [`${step} started`, `${step} done`]),
    );
    expect(journalled).toEqual([vm.run.pid]);
    expect(vm.address).toBe('127.0.0.1');
    expect((await vm.ssh.exec(echoAlive(), { timeoutMs: 20_000 })).stdout.toString()).toBe('alive\n');
    expect(await vms.names()).toContain(name);
  }
  expect(await vms.names()).toEqual(['expo-build-vm-base-snapshot']);
});

onGuest('a missing base image is vm_start_failed at clone', async () => {
  await using vms = await scriptedVms();
  const result = await bootVm({
    ...vms.options,
    config: { ...vms.config, images: [{ name: 'default', vmName: 'other', platforms: ['ios'] }] },
    name,
    signal: never(),
  });
  expect(result).toMatchObject({
    ok: false,
    verdict: 'vm_start_failed',
    step: 'clone',
    message: expect.stringContaining('other-base-snapshot'),
  });
});

onGuest('the two-VM limit is vm_start_failed at run, noticed at once', async () => {
  await using vms = await scriptedVms();
  vms.on('no-ip');
  vms.on('run-fails', 'The number of VMs exceeds the system limit\n');
  const result = await bootVm({ ...vms.options, name, signal: never() });
  expect(result).toMatchObject({
    ok: false,
    verdict: 'vm_start_failed',
    step: 'run',
    message: expect.stringContaining('exceeds the system limit'),
  });
  expect(await destroyVm({ tart: vms.tart, name })).toEqual({ ok: true });
});

onGuest('no address in time is health_check_failed at vm_address, and the VM can be destroyed', async () => {
  await using vms = await scriptedVms();
  vms.on('no-ip');
  // Waits until the VM runs, because a VM that does not run yet gets another verdict.
  const onRun = () => until(() => vms.runs(name), 'the VM runs').then(() => {});
  const result = await bootVm({ ...vms.options, name, signal: never(), onRun, limits: { addressMs: 1_000 } });
  expect(result).toMatchObject({
    ok: false,
    verdict: 'health_check_failed',
    step: 'vm_address',
    message: expect.stringContaining('no IP address found'),
  });
  expect(await destroyVm({ tart: vms.tart, name })).toEqual({ ok: true });
  expect(await destroyVm({ tart: vms.tart, name })).toEqual({ ok: true });
});

onGuest('no SSH in time is health_check_failed at ssh, with what SSH said', async () => {
  await using vms = await scriptedVms();
  const config = { ...vms.config, vmSshPort: 1 };
  const result = await bootVm({ ...vms.options, config, name, signal: never(), limits: { sshMs: 1_000 } });
  expect(result).toMatchObject({
    ok: false,
    verdict: 'health_check_failed',
    step: 'ssh',
    message: expect.stringContaining('nothing listens'),
  });
  await destroyVm({ tart: vms.tart, name });
});

onGuest('a key that is not there is told by its path', async () => {
  await using vms = await scriptedVms();
  const config = { ...vms.config, vmSshKey: '/nowhere/key' };
  const result = await bootVm({ ...vms.options, config, name, signal: never() });
  expect(result).toMatchObject({ ok: false, step: 'ssh', message: expect.stringContaining('/nowhere/key') });
  await destroyVm({ tart: vms.tart, name });
});

onGuest('a guest that ends while its address is awaited is vm_exited, not a timeout', async () => {
  await using vms = await scriptedVms();
  vms.on('no-ip');
  const booting = bootVm({
    ...vms.options,
    name,
    signal: never(),
    onStep: ({ step }) => step === 'address' && vms.on('crash'),
  });
  expect(await booting).toMatchObject({
    ok: false,
    verdict: 'vm_exited',
    step: 'run',
    message: expect.stringContaining('guest has stopped'),
  });
});

onGuest('a running VM that ends is noticed, with the reason', async () => {
  await using vms = await scriptedVms();
  await using vm = await booted(vms);
  expect(vm.end).toBeNull();
  vms.on('crash');
  await aborted(vm.exited);
  expect(vm.end).toMatchObject({
    exitCode: 0,
    message: expect.stringContaining('guest has stopped the virtual machine'),
  });
});

onGuest('giving up a boot rejects with the reason, and what was begun can be destroyed', async () => {
  await using vms = await scriptedVms();
  vms.on('no-ip');
  const stop = new AbortController();
  const booting = bootVm({
    ...vms.options,
    name,
    signal: stop.signal,
    onStep: ({ step }) => step === 'address' && stop.abort(new Error('cancelled')),
  });
  await expect(booting).rejects.toThrow('cancelled');
  expect(await destroyVm({ tart: vms.tart, name })).toEqual({ ok: true });
});

onGuest('a dropped connection is replaced, to the same host key', async () => {
  await using vms = await scriptedVms();
  await using vm = await booted(vms);
  const old = vm.ssh;
  old.close();
  const ssh = await vm.reconnect({ timeoutMs: 20_000 });
  expect(vm.ssh).toBe(ssh);
  expect(ssh.hostFingerprint).toBe(old.hostFingerprint);
  expect((await ssh.exec(echoAlive(), { timeoutMs: 20_000 })).exitCode).toBe(0);
});

onGuest('a VM that was let go of runs on, and is adopted by another agent', async () => {
  await using vms = await scriptedVms();
  const first = await booted(vms);
  const { run } = first;
  first.release();
  await sleep(10);
  const result = await adoptVm({ ...vms.options, name, run, signal: never() });
  if (!result.ok) throw new Error(result.message);
  await using vm = result.vm;
  expect((await vm.ssh.exec(echoAlive(), { timeoutMs: 20_000 })).exitCode).toBe(0);
  vms.on('crash');
  await aborted(vm.exited);
});

onGuest('adopting a VM whose run has ended is vm_exited', async () => {
  await using vms = await scriptedVms();
  const run = { pid: 2 ** 22 - 1, startTime: 'long ago' };
  const result = await adoptVm({ ...vms.options, name, run, signal: never() });
  expect(result).toMatchObject({ ok: false, verdict: 'vm_exited' });
});
