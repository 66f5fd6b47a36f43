/** What may happen to a VM while a build runs in it. */
import { afterAll, beforeAll, test } from 'vitest';
import { FaultFarm } from './fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 3 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

test.concurrent('a VM that freezes is vm_silent, cause vm_frozen', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('freeze');
  await build.fails({ verdict: 'vm_silent', cause: 'vm_frozen' });
  await mac.recovers();
});

test.concurrent('a VM that crashes, so that tart exits with 0, is vm_exited', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('crash');
  await build.fails({ verdict: 'vm_exited', cause: 'vm_exited' });
  await build.logged('begun\n');
  await mac.recovers();
});

test.concurrent('a guest that shuts itself down is vm_exited', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sudo shutdown -h now; sleep 600' });
  await build.fails({ verdict: 'vm_exited', cause: 'vm_exited' });
  await mac.recovers();
});
