/**
 * Plays the operator of a farm's Macs: runs the doctor on each quarantined Mac, and sends its report. The
 * agents also check themselves, but with pauses of minutes. That is right for a broken Mac, and too slow for
 * a test in which faults come this often.
 *
 * Invariant: one doctor runs at a time. The doctor's findings decide, as on any Mac.
 */
import { runDoctor } from '../../worker-agent/health-checks/check-up.ts';
import { postFindings } from '../../worker-agent/health-checks/findings.ts';
import { examinedIn } from '../../worker-agent/images/images.ts';
import type { Farm } from './farm.ts';
import type { SimulatedMac } from './simulated-mac.ts';

const EVERY_MS = 2_000;

interface TrustOptions {
  signal: AbortSignal;
  onDoctor: () => void;
  onProblem: (text: string) => void;
}

export function keepTrusted(farm: Farm, { signal, onDoctor, onProblem }: TrustOptions): Disposable {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const suspects = new Set<number>();
  // The agent reports why it gets no builds. Only the controller knows whether the reason is quarantine.
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
        if ((await farm.admin.worker(mac.workerId)).state !== 'quarantined') continue;
        onDoctor();
        await examine(mac, either);
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

async function examine({ configPath }: SimulatedMac, signal: AbortSignal): Promise<void> {
  const { checks } = await runDoctor({ configPath, vm: false, imagesOf: examinedIn(configPath), signal });
  const answer = await postFindings(configPath, checks);
  if ('message' in answer) throw new Error(answer.message);
}
