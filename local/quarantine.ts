/**
 * Plays the operator of a farm's Macs: runs the doctor on each that is quarantined, and sends its report.
 *
 * Invariant: one doctor a Mac at a time. What the doctor finds decides, as on any Mac.
 */
import { loadConfig } from '../worker-agent/config.ts';
import { ControllerClient } from '../worker-agent/controller-client.ts';
import { runDoctor } from '../worker-agent/doctor.ts';
import type { Farm } from './farm.ts';
import type { SimulatedMac } from './simulated-mac.ts';

const EVERY_MS = 2_000;
const REQUEST_MS = 10_000;

export interface TrustOptions {
  signal: AbortSignal;
  onDoctor: () => void;
  onProblem: (text: string) => void;
}

export function keepTrusted(farm: Farm, { signal, onDoctor, onProblem }: TrustOptions): Disposable {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const suspects = new Set<number>();
  // The agent says why it is given nothing; whether that is quarantine is the controller's to say.
  const listening = farm.listen((event, index) => {
    if (event.type === 'idle' && event.reason !== null) suspects.add(index);
    if (event.type === 'claimed') suspects.delete(index);
  });
  let looking = false;
  const timer = setInterval(async () => {
    if (looking) return;
    looking = true;
    for (const index of suspects) {
      try {
        const mac = farm.mac(index);
        if ((await farm.api.worker(mac.workerId)).state !== 'quarantined') continue;
        onDoctor();
        await examine(mac, farm.controller.url, either);
      } catch (error) {
        if (!either.aborted) onProblem(`the doctor on Mac ${index + 1}: ${(error as Error).message}`);
      }
    }
    looking = false;
  }, EVERY_MS);
  return {
    [Symbol.dispose]() {
      stop.abort();
      clearInterval(timer);
      listening[Symbol.dispose]();
    },
  };
}

async function examine(mac: SimulatedMac, url: string, signal: AbortSignal): Promise<void> {
  const started = mac.events.findLast((event) => event.type === 'started');
  if (!started) return;
  const { checks } = await runDoctor({ configPath: mac.configPath, vm: false, signal });
  const findings = checks.map(({ id, title, status, blocking, detail, fix }) => ({
    ...{ id, title, status, blocking },
    ...{ detail: detail.slice(0, 2_000), fix: fix ?? null },
  }));
  const { apiKey: key } = await loadConfig(mac.configPath);
  const client = new ControllerClient({ url, key, requestMs: REQUEST_MS, transferStallMs: REQUEST_MS });
  const answer = await client.findings(mac.workerId, { instanceId: started.instanceId, findings }, signal);
  if (!answer.ok) throw new Error(answer.message);
}
