import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { lookWithoutNetwork } from '../../../worker-agent/vm/second-way.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';
import { BASE, simulatedMac } from '../tart-simulator/simulated-mac.ts';

const LONG_MS = 60_000;
/** How a `tart exec` may end before curl has printed anything. */
const CUT_OFF = [
  'echo "Error: unavailable (14): Transport became inactive" >&2; exit 1',
  'echo "curl: not found" >&2; exit 127',
  'exec sleep 60',
];

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

const LIMIT_MS = 2_000;

/** Looks through this `tart exec`, and notes when `onAlive` was called. */
async function lookThrough(exec: string, whenAlive = () => {}) {
  using scripted = scriptedTart({ exec });
  const aliveMs: number[] = [];
  const seen = await lookWithoutNetwork({
    ...{ tart: scripted.tart, name: 'vm', controllerUrl: 'http://127.0.0.1:1', limitMs: LIMIT_MS },
    onAlive(ms) {
      aliveMs.push(ms);
      whenAlive();
    },
  });
  return { seen, aliveMs };
}

test.each(CUT_OFF)('what was not printed in the VM proves nothing: %s', async (exec) => {
  // Nothing was printed, whether the command or the time ends first.
  expect(await lookThrough(exec)).toMatchObject({ seen: { answers: false }, aliveMs: [] });
});

test.each(CUT_OFF)(
  'a VM that has answered lives, although the look is cut off before curl has ended: %s',
  async (exec) => {
    // The clock stands until the VM has answered, so its answer comes in time.
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const { seen, aliveMs } = await lookThrough(`echo alive; ${exec}`, () => vi.advanceTimersByTime(LIMIT_MS));
    expect(aliveMs).toHaveLength(1);
    expect(seen).toEqual({ answers: true, ms: aliveMs[0], controller: null });
  },
);
