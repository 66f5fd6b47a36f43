import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { lookWithoutNetwork } from '../../../worker-agent/vm/second-way.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';
import { BASE, simulatedMac } from '../tart-simulator/simulated-mac.ts';

const LONG_MS = 60_000;

async function health() {
  const server = createServer((request, response) => response.writeHead(request.url === '/health' ? 200 : 404).end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return { url: `http://192.168.64.1:${port}/`, [Symbol.dispose]: () => server.close().closeAllConnections() };
}

test('a VM that lives, one without a network, a frozen one and one that does not run are told apart', async () => {
  await using mac = await simulatedMac();
  using controller = await health();
  const tart = createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: mac.home });
  const look = (name: string, limitMs = LONG_MS) =>
    lookWithoutNetwork({ tart, name, controllerUrl: controller.url, limitMs });
  expect(await look('none')).toBeNull();
  await mac.tart('clone', BASE, 'stopped');
  expect(await look('stopped')).toBeNull();

  await mac.boot('vm');
  const ms = expect.any(Number);
  expect(await look('vm')).toEqual({ answers: true, ms, controller: { reachable: true, detail: 'HTTP 200' } });
  setFault(mac.home, 'vm', 'net-gone');
  await until(async () => {
    const seen = await look('vm');
    return seen?.answers && seen.controller?.detail === 'curl: exit code 28, HTTP 000';
  }, 'the VM answers, and its network is gone');
  setFault(mac.home, 'vm', 'freeze');
  await until(async () => (await look('vm', 2_000))?.answers === false, 'the VM is frozen');
});

test('what was not printed in the VM proves nothing', async () => {
  const controllerUrl = 'http://127.0.0.1:1';
  for (const exec of [
    'echo "Error: unavailable (14): Transport became inactive" >&2; exit 1',
    'echo "curl: not found" >&2; exit 127',
    'exec sleep 60',
  ]) {
    using scripted = scriptedTart({ exec });
    const seen = await lookWithoutNetwork({ tart: scripted.tart, name: 'vm', controllerUrl, limitMs: 2_000 });
    expect(seen).toMatchObject({ answers: false });
  }
});

test('a VM that has answered lives, although the look is cut off before curl has ended', async () => {
  const controllerUrl = 'http://127.0.0.1:1';
  for (const exec of [
    'echo alive; exec sleep 60',
    'echo alive; echo "curl: not found" >&2; exit 127',
    'echo alive; echo "Error: unavailable (14): Transport became inactive" >&2; exit 1',
  ]) {
    using scripted = scriptedTart({ exec });
    const seenAt: number[] = [];
    const onAlive = (ms: number) => void seenAt.push(ms);
    const seen = await lookWithoutNetwork({ tart: scripted.tart, name: 'vm', controllerUrl, limitMs: 2_000, onAlive });
    expect(seen).toEqual({ answers: true, ms: seenAt[0], controller: null });
    expect(seenAt).toHaveLength(1);
  }
});
