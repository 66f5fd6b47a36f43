/**
 * Tests builds that the infrastructure loses: the controller runs them again, on another Mac, before all
 * waiting builds. A Mac that loses everything gets no more builds.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultFarm, type FaultyBuild, type FaultyMac } from './fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2, ownPools: false });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const pool = 'default';
const WAITING = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';

test('a build that one Mac has lost runs on another, before all that waits', async () => {
  await using first = await macs.take();
  await using second = await macs.take();
  const submit = (request: object) => first.build({ command: WAITING, pool, ...request });
  const holderOf = async (build: FaultyBuild, attempt: number): Promise<FaultyMac> => {
    const { attempts } = await build.reaches(({ attempts }) => attempts.length >= attempt, `has attempt ${attempt}`);
    const { workerId } = attempts[attempt - 1]!;
    return [first, second].find(({ mac }) => mac.workerId === workerId)!;
  };
  const lost = await submit({ maxAttempts: 2 });
  await lost.prints('begun');
  const loser = await holderOf(lost, 1);
  const beside = await submit({});
  await beside.prints('begun');
  const other = await holderOf(beside, 1);
  expect(other).not.toBe(loser);
  const next = await submit({});
  const last = await submit({ command: 'echo last' });

  await loser.fault('crash');
  // The Mac that lost the build has a free slot first. It takes the waiting build and not the one that it
  // lost.
  await next.prints('begun');
  expect(await holderOf(next, 1)).toBe(loser);
  const { status, attempts: tried } = await lost.read();
  expect({ status, tried }).toMatchObject({ status: 'queued', tried: [{ attempt: 1 }] });
  await other.inSource(beside.id, 'go');
  expect(await holderOf(lost, 2)).toBe(other);
  expect((await last.read()).status).toBe('queued');

  await lost.reaches(({ status }) => status === 'building', 'is built again');
  await lost.prints('begun');
  await other.inSource(lost.id, 'go', 2);
  await loser.inSource(next.id, 'go');
  for (const build of [beside, next, lost]) await build.succeeds('begun\ndone\n');
  await last.succeeds('last\n');
  const { attempts } = await lost.read();
  expect(attempts.map(({ verdict }) => verdict?.code)).toEqual(['vm_exited', undefined]);
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
    await mac.fault('crash');
    await build.fails({ verdict: 'vm_exited' });
  }
  const waiting = await mac.build({ command: 'echo trusted', pool });
  await mac.says('idle', { reason: 'this worker is in quarantine: run `expo-worker doctor`' });
  const { state, stateReason } = await macs.farm.admin.worker(mac.mac.workerId);
  expect([state, stateReason]).toEqual(['quarantined', expect.stringContaining('doctor')]);
  expect((await mac.says('self_check')).message).toBe('every blocking check passed');
  await waiting.succeeds('trusted\n');
  await mac.settles();
});
