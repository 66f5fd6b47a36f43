/** Tests faults of the build itself. None of them may be blamed on the infrastructure, or block the Mac. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HOST_SEEN_FROM_VM } from '../../worker-agent/tart-simulator/guest/gateway.ts';
import { simulatorProcesses } from '../../worker-agent/tart-simulator/simulator.ts';
import { FaultFarm } from './factories/fault-farm.ts';

/** A server that takes what it is sent. */
async function uploadSink() {
  let received = 0;
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => (received += chunk.length));
    request.on('end', () => response.end());
  });
  server.requestTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    receivedBytes: () => received,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

test.concurrent('a command that prints nothing any more is no_output', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600', timeouts: { noOutputTimeoutMs: 10_000 } });
  const { verdict, attempts } = await build.fails({ verdict: 'no_output', cause: null });
  expect(verdict!.message).toMatch(/^These processes waited: sleep 600 \(pid \d+, 0\.0 % CPU, for \d+ s\); /);
  expect(attempts.at(-1)).toMatchObject({
    verdict: { message: verdict!.message },
    evidence: { processes: expect.arrayContaining([expect.objectContaining({ state: expect.stringMatching(/^S/) })]) },
  });
  await build.logged('begun\n');
  await mac.settles();
});

test.concurrent('work without output, in a session of its own, rests the clock of the output; buildTimeout still counts', async () => {
  await using mac = await macs.take();
  const command = `setsid bash -c 'echo begun; while :; do for i in {1..99999}; do :; done; sleep 0.1; done' & sleep 600`;
  const build = await mac.build({ command, timeouts: { buildTimeoutMs: 75_000, noOutputTimeoutMs: 20_000 } });
  await build.fails({ verdict: 'build_timeout' });
  await build.logged('begun\n');
  await mac.settles();
});

test.concurrent('an upload without output rests the clock of the output', async () => {
  await using mac = await macs.take();
  await using sink = await uploadSink();
  const upload = `head -c 2000000 /dev/zero | curl -sS -T - --limit-rate 50k http://${HOST_SEEN_FROM_VM}:${sink.port}/`;
  const command = `echo begun; ${upload}`;
  const build = await mac.build({ command, timeouts: { noOutputTimeoutMs: 20_000 } });
  await build.succeeds('begun\n');
  expect(sink.receivedBytes()).toBe(2_000_000);
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
