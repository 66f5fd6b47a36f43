/** A Mac that loses everything to the infrastructure is not given more, until its checks pass. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultFarm } from './fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2, ownPools: false });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const pool = 'default';

test('a Mac that has lost three builds in a row is quarantined, says why, and builds again once its checks pass', async () => {
  await using mac = await macs.take();
  await using other = await macs.take();
  await other.mac.killAgent('SIGTERM');
  for (let losses = 0; losses < 3; losses++) {
    const build = await mac.build({ command: 'echo begun; sleep 600', pool });
    await build.prints('begun');
    await mac.fault('crash');
    await build.fails({ verdict: 'vm_exited' });
  }
  const waiting = await mac.build({ command: 'echo trusted', pool });
  await mac.says('idle', { reason: 'quarantined: run `expo-worker doctor`' });
  const { state, stateReason } = await macs.farm.api.worker(mac.mac.workerId);
  expect([state, stateReason]).toEqual(['quarantined', expect.stringContaining('doctor')]);
  expect((await mac.says('self_check')).message).toBe('every blocking check passed');
  await waiting.succeeds('trusted\n');
  await mac.settles();
});
