/**
 * Tests builds that the infrastructure loses: the controller runs them again, on another Mac, before all
 * waiting builds. A Mac that loses everything gets no more builds.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultFarm, type FaultyMac } from './factories/fault-farm.ts';
import type { FaultyBuild } from './factories/faulty-build.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2, ownPools: false });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const pool = 'default';
const WAITING = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';

/** Which of two Macs runs this attempt. */
async function holderOf(build: FaultyBuild, attempt: number, macs: FaultyMac[]): Promise<FaultyMac> {
  const { attempts } = await build.reaches(({ attempts }) => attempts.length >= attempt, `has attempt ${attempt}`);
  const { workerId } = attempts[attempt - 1]!;
  return macs.find(({ mac }) => mac.workerId === workerId)!;
}
const verdictsOf = async (build: FaultyBuild) => (await build.read()).attempts.map(({ verdict }) => verdict?.code);

test('a build that one Mac has lost runs on another that is free', async () => {
  await using first = await macs.take();
  await using second = await macs.take();
  const lost = await first.build({ command: WAITING, pool, maxAttempts: 2 });
  await lost.prints('begun');
  const loser = await holderOf(lost, 1, [first, second]);
  await loser.fault('crash');
  const other = loser === first ? second : first;
  expect((await holderOf(lost, 2, [first, second])).pool).toBe(other.pool);
  await lost.prints('begun');
  await other.inSource(lost.id, 'go', 2);
  await lost.succeeds('begun\ndone\n');
  expect(await verdictsOf(lost)).toEqual(['vm_exited', undefined]);
  await first.settles();
  await second.settles();
});

test('a build that was lost runs again before all that waits, on the same Mac if no other is free', async () => {
  await using first = await macs.take();
  await using second = await macs.take();
  const lost = await first.build({ command: WAITING, pool, maxAttempts: 2 });
  const beside = await first.build({ command: WAITING, pool });
  await Promise.all([lost, beside].map((build) => build.prints('begun')));
  const loser = await holderOf(lost, 1, [first, second]);
  const other = await holderOf(beside, 1, [first, second]);
  expect(other.pool).not.toBe(loser.pool);
  const waiting = await first.build({ command: 'echo waited', pool });
  await loser.fault('crash');
  expect((await holderOf(lost, 2, [first, second])).pool).toBe(loser.pool);
  expect((await waiting.read()).status).toBe('queued');
  await lost.prints('begun');
  await loser.inSource(lost.id, 'go', 2);
  await lost.succeeds('begun\ndone\n');
  await waiting.succeeds('waited\n');
  await other.inSource(beside.id, 'go');
  await beside.succeeds('begun\ndone\n');
  expect(await verdictsOf(lost)).toEqual(['vm_exited', undefined]);
  await first.settles();
  await second.settles();
});

test('a Mac that has lost three builds in a row is quarantined, says why, and builds again once its checks pass', async () => {
  await using mac = await macs.take();
  await using other = await macs.take();
  await other.mac.killAgent('SIGTERM');
  for (let losses = 0; losses < 3; losses++) {
    const build = await mac.build({ command: 'echo begun; sleep 600', pool });
    await build.prints('begun');
    // The self-check that ends the quarantine needs a VM. This fault delays it until the test has seen all.
    if (losses === 2) mac.mac.faultNextClone('slow-boot:600000');
    await mac.fault('crash');
    await build.fails({ verdict: 'vm_exited' });
  }
  const waiting = await mac.build({ command: 'echo trusted', pool });
  await mac.says('idle', { reason: 'this worker is in quarantine: run `expo-worker doctor`' });
  const { state, stateReason } = await macs.farm.admin.worker(mac.mac.workerId);
  expect([state, stateReason]).toEqual(['quarantined', expect.stringContaining('doctor')]);
  await mac.until(() => mac.hasFault('slow-boot'), 'the VM of the self-check is there');
  await mac.clearFault('slow-boot');
  expect((await mac.says('self_check')).message).toBe('every blocking check passed');
  await waiting.succeeds('trusted\n');
  await mac.settles();
});
