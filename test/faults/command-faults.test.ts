/** Tests faults of the build itself. None of them may be blamed on the infrastructure, or block the Mac. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { simulatorProcesses } from '../../worker-agent/tart-simulator/simulator.ts';
import { FaultFarm } from './fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 3 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

test.concurrent('a command that prints nothing any more is no_output', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600', timeouts: { noOutputTimeoutMs: 10_000 } });
  await build.fails({ verdict: 'no_output' });
  await build.logged('begun\n');
  await mac.settles();
});

test.concurrent('a command that prints for ever and never ends is build_timeout', async () => {
  await using mac = await macs.take();
  const command = 'while :; do echo still here; sleep 0.2; done';
  const build = await mac.build({ command, timeouts: { buildTimeoutMs: 40_000, noOutputTimeoutMs: 10_000 } });
  const { startedAt } = await build.fails({ verdict: 'build_timeout' });
  expect(startedAt).not.toBeNull();
  expect((await build.log()).text).toMatch(/^(still here\n){10,}$/);
  await mac.settles();
});

/** A healthy iOS build was once silent for 209 s. The test uses the same share of a shorter timeout. */
test.concurrent('a healthy build that prints nothing for 209 s of 900 (scaled) is not touched', async () => {
  await using mac = await macs.take();
  const noOutputTimeoutMs = 60_000;
  const command = `echo begun; sleep ${(noOutputTimeoutMs * 209) / 900_000}; echo done`;
  const build = await mac.build({ command, timeouts: { noOutputTimeoutMs } });
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

test.concurrent('children that hold the log open do not hold the build, and go with the VM', async () => {
  await using mac = await macs.take();
  const command = '(trap "" TERM HUP; while :; do sleep 1; done) & echo started; echo $! >child; true';
  const build = await mac.build({ command, artifacts: ['child'] });
  await build.succeeds('started\n');
  await mac.until(async () => (await mac.mac.vms()).length === 0, 'the VM is gone');
  await mac.until(() => simulatorProcesses(mac.mac.tartHome).length === 0, 'no process of it is left');
  await mac.settles();
});

test.concurrent('an archive that cannot be unpacked is source_invalid', async () => {
  await using mac = await macs.take();
  const build = await mac.buildFrom(randomBytes(4_096), { command: 'echo never' });
  const { startedAt } = await build.fails({ verdict: 'source_invalid' });
  expect(startedAt).toBeNull();
  await mac.settles();
});

test.concurrent('a required artifact that is missing is artifact_missing, and names the glob', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo built nothing', artifacts: ['dist/*.ipa'] });
  const { verdict } = await build.fails({ verdict: 'artifact_missing' });
  expect(verdict?.message).toContain('dist/*.ipa');
  await build.logged('built nothing\n');
  await mac.settles();
});

test.concurrent('a command that fails is build_failed, with what the VM looked like', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo oops; exit 7' });
  const { attempts } = await build.fails({ verdict: 'build_failed' });
  expect(attempts.at(-1)).toMatchObject({
    exitCode: 7,
    evidence: { vm: 'running', ssh: { answers: true }, controllerFromVm: { reachable: true }, logTail: 'oops\n' },
  });
  await build.logged('oops\n');
  await mac.settles();
});
