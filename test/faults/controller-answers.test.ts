/** Tests broken answers of the controller, and damaged requests to it, while the controller itself works. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultFarm, type FaultyMac } from './factories/fault-farm.ts';
import type { SeenRequest, Treatment } from './factories/proxy.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2, diverted: true });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

/** Longer than any request in these tests is retried without success. */
const timeouts = { heartbeatTimeoutMs: 60_000, workerTimeoutMs: 60_000 };
const COMMAND = 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done | tee out.txt';
const LOG = 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n';
const WAITING = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';
const isBeat = ({ path }: SeenRequest) => path.includes('/heartbeat');

/**
 * The build succeeds in one attempt, although the proxies treat both ways like this since before its claim.
 */
async function buildsWhole(mac: FaultyMac, how: Parameters<FaultyMac['treat']>[0]) {
  mac.treat(how);
  const build = await mac.build({ command: COMMAND, artifacts: ['out.txt'], timeouts });
  const { attempt, events } = await build.succeeds(LOG);
  expect(attempt).toBe(1);
  expect(events.map(({ type }) => type)).toEqual(['submitted', 'claim', 'start', 'succeed']);
  expect(await build.artifact('out.txt')).toBe(LOG);
  return build;
}

const FAILURES: Treatment[] = ['answer 500', 'answer 502', 'answer half', 'lose answer', 'refuse'];
for (const treatment of FAILURES)
  test.concurrent(`${treatment}, to every other request of each kind: retried, and the build is whole`, async () => {
    await using mac = await macs.take();
    await buildsWhole(mac, ({ count }) => (count % 2 === 1 ? treatment : 'pass'));
    await mac.settles();
  });

test.concurrent('answer nothing, to everything, for a while: the build is whole', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: WAITING, timeouts });
  await build.prints('begun');
  const from = [mac.ways.agent.seen.length, mac.ways.vm.seen.length] as const;
  mac.treat('answer nothing');
  const beatsHang = () =>
    mac.ways.agent.seen.slice(from[0]).some(isBeat) && mac.ways.vm.seen.slice(from[1]).some(isBeat);
  await mac.until(beatsHang, 'beats of both hang');
  mac.treat('pass');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

test.concurrent('requests that arrive twice, the second time late, change nothing', async () => {
  await using mac = await macs.take();
  await buildsWhole(mac, 'twice');
  const answers = [...mac.ways.agent.repeated, ...mac.ways.vm.repeated].map(({ status }) => status);
  expect(answers.length).toBeGreaterThan(10);
  expect(answers.filter((status) => status >= 300 && ![409, 410, 416].includes(status))).toEqual([]);
  await mac.settles();
});

test.concurrent('requests that overtake each other change nothing', async () => {
  await using mac = await macs.take();
  await buildsWhole(mac, ({ count }) => ({ delayMs: (count * 617) % 1_500 }));
  await mac.settles();
});

test.concurrent('requests that arrive after the end change nothing: 409 or 410, but for the report that made it', async () => {
  await using mac = await macs.take();
  const { agent, vm } = mac.ways;
  const build = await buildsWhole(mac, 'pass');
  await mac.settles();
  const before = await build.read();
  const about = [...agent.seen, ...vm.seen].filter(({ path, method }) => path.includes(build.id) && method !== 'GET');
  const kinds = new Set<string>();
  for (const request of about) {
    const { status } = await agent.replay(request);
    const said = isBeat(request)
      ? 'beat'
      : request.path.includes('/reports')
        ? JSON.parse(String(request.body)).type
        : request.path.includes('/blobs/')
          ? 'artifact'
          : 'log';
    kinds.add(said);
    // The controller accepts the file again. A stored file alone belongs to no build.
    if (said === 'succeed' || said === 'artifact') expect(status).toBe(200);
    else expect([409, 410], said).toContain(status);
  }
  expect([...kinds].sort()).toEqual(['artifact', 'beat', 'log', 'start', 'succeed']);
  expect(await build.read()).toEqual(before);
  await build.logged(LOG);
});

test.concurrent('beats of the VM alone that are refused for longer than their timeout are vm_silent', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  mac.ways.vm.treat((request) => (isBeat(request) ? 'answer 500' : 'pass'));
  // The VM has no other fault.
  await build.fails({ verdict: 'vm_silent', cause: 'unknown' });
  mac.treat('pass');
  await mac.recovers();
});

test.concurrent('beats of both that are refused for longer than their timeouts are worker_lost', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  mac.treat((request) => (isBeat(request) ? 'answer 502' : 'pass'));
  await build.ends();
  mac.treat('pass');
  await build.fails({ verdict: 'worker_lost', cause: 'host_network_down' });
  await mac.recovers();
});

test.concurrent('an agent that is cut off, its VM not, is worker_lost; nobody else may build it, so its VM goes when they meet again', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: WAITING });
  await build.prints('begun');
  mac.ways.agent.treat('refuse');
  await build.ends();
  expect(mac.events.some(({ type }) => type === 'slot_free')).toBe(false);
  expect(await mac.mac.vms()).toHaveLength(1);
  mac.treat('pass');
  await build.fails({ verdict: 'worker_lost', cause: 'host_network_down' });
  await mac.recovers();
});

test.concurrent('an agent that is cut off, its VM not, destroys it before another may build the same', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: WAITING, maxAttempts: 2 });
  await build.prints('begun');
  mac.ways.agent.treat('refuse');
  const { time } = await mac.says('slot_free');
  expect(await mac.mac.vms()).toEqual([]);
  expect(await build.read()).toMatchObject({ status: 'queued', attempt: 1 });
  mac.treat('pass');
  await build.reaches(({ status, attempt }) => status === 'building' && attempt === 2, 'is built again');
  await build.prints('begun');
  await mac.inSource(build.id, 'go', 2);
  const { attempts } = await build.succeeds('begun\ndone\n');
  expect(attempts.map(({ verdict }) => verdict?.code)).toEqual(['worker_lost', undefined]);
  expect(Date.parse(attempts[1]!.claimedAt)).toBeGreaterThan(Date.parse(time));
  await mac.settles();
});
