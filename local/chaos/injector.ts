/**
 * Injects the planned faults: listens to the agents, and strikes when an attempt has reached the planned
 * moment.
 *
 * Invariant: a fault meets the first attempt of its build, or counts as missed. Everything that the injector
 * stops or cuts continues afterwards.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { clearFault, faultNextClone, readFaults } from '../../worker-agent/tart-simulator/home/faults.ts';
import { listRuns } from '../../worker-agent/tart-simulator/processes/runs.ts';
import type { TimedAgentEvent } from '../farm/agent-process.ts';
import type { Farm } from '../farm/farm.ts';
import { faultOf } from './faults/catalogue.ts';
import type { Injection, Moment } from './faults/fault.ts';
import { vmFolder } from './leftovers.ts';
import type { MacNetwork } from './network.ts';
import type { PlannedBuild } from './plan.ts';

export interface Watched {
  readonly buildId: string;
  readonly planned: PlannedBuild;
  /** `waiting` until the moment of the fault has come. */
  fault: 'none' | 'waiting' | 'injected' | 'missed';
  /** How long the fault kept the agent away. */
  agentAwayMs: number;
  /** Resolves when the fault is over and every stopped process has continued. */
  settled: Promise<void>;
}

interface Place {
  farm: Farm;
  macIndex: number;
  vmName: string;
  watched: Watched;
  /** True when the first attempt has left its Mac. */
  isOver: () => boolean;
}

/** Times of Date.now(). `until` is Infinity while the outage lasts. */
interface Outage {
  from: number;
  until: number;
}

const CONTROLLER_AWAY_MS = 1_000;
/** How long the injector waits for the fault to appear in the new clone. */
const CLONE_WITHIN_MS = 10_000;

export class Injector implements Disposable {
  readonly outages: Outage[] = [];
  /** Problems of the injector itself. */
  readonly problems: string[] = [];
  readonly #farm: Farm;
  /** One for each Mac, in the order of the farm's Macs. */
  readonly #networks: readonly MacNetwork[];
  readonly #listening: Disposable;
  readonly #watched = new Map<string, Watched>();
  /**
   * Events of builds whose id is not known yet, because an agent can claim a build before `submit` returns.
   */
  readonly #early = new Map<string, [TimedAgentEvent, number][]>();
  readonly #left = new Set<string>();

  constructor(farm: Farm, networks: readonly MacNetwork[]) {
    this.#farm = farm;
    this.#networks = networks;
    this.#listening = farm.listen((event, macIndex) => this.#hear(event, macIndex));
  }

  watch(buildId: string, planned: PlannedBuild): Watched {
    const watched: Watched = {
      buildId,
      planned,
      fault: planned.fault ? 'waiting' : 'none',
      agentAwayMs: 0,
      settled: Promise.resolve(),
    };
    // A build has its own flaws from the start.
    if (planned.fault && faultOf(planned.fault.kind).inject.on === 'build') watched.fault = 'injected';
    this.#watched.set(buildId, watched);
    for (const [event, macIndex] of this.#early.get(buildId) ?? []) this.#hear(event, macIndex);
    this.#early.delete(buildId);
    return watched;
  }

  forget({ buildId }: Watched): void {
    this.#watched.delete(buildId);
    this.#left.delete(buildId);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    for (const mac of this.#farm.macs) mac.agent?.signal('SIGCONT');
    for (const network of this.#networks) network.restore();
  }

  #hear(event: TimedAgentEvent, macIndex: number): void {
    if (!('buildId' in event) || event.buildId === undefined || event.attempt !== 1) return;
    const { buildId } = event;
    const watched = this.#watched.get(buildId);
    if (!watched) {
      if (!this.#left.has(buildId)) this.#early.set(buildId, [...(this.#early.get(buildId) ?? []), [event, macIndex]]);
      return;
    }
    if (event.type === 'slot_free') this.#left.add(buildId);
    const { fault } = watched.planned;
    if (watched.fault !== 'waiting' || !fault || momentOf(event) !== fault.moment) return;
    watched.fault = 'injected'; // changed below if the fault came too late
    watched.settled = this.#strike(watched, macIndex).catch((error: Error) => {
      watched.fault = 'missed';
      this.problems.push(`${fault.kind} of build ${watched.planned.number}: ${error.message}`);
    });
  }

  async #strike(watched: Watched, macIndex: number): Promise<void> {
    const { kind, delayMs } = watched.planned.fault!;
    const { inject } = faultOf(kind);
    const atOnce = inject.on === 'vm' && inject.from === 'clone';
    if (!atOnce) await sleep(delayMs);
    const { workerId } = this.#farm.mac(macIndex);
    const vmName = `tartbeat-${workerId}-${watched.buildId}-1`;
    const isOver = () => this.#left.has(watched.buildId);
    if (isOver()) {
      watched.fault = 'missed';
      return;
    }
    const place: Place = { farm: this.#farm, macIndex, vmName, watched, isOver };
    if (!(await this.#inject(inject, place))) watched.fault = 'missed';
  }

  /** Resolves with false if the fault came too late. */
  async #inject(inject: Injection, place: Place): Promise<boolean> {
    const { farm, macIndex, vmName, watched, isOver } = place;
    const mac = farm.mac(macIndex);
    switch (inject.on) {
      case 'build':
        return true;
      case 'vm': {
        if (inject.from === 'clone') return faultClone(place, inject.fault);
        if (!exists(mac.tartHome, vmName)) return false;
        mac.setFault(vmName, inject.fault);
        if (inject.forMs !== undefined) {
          await sleep(inject.forMs);
          clearFault(mac.tartHome, vmName, inject.fault);
        }
        return true;
      }
      case 'tart_run':
        return killTartRun(mac.tartHome, vmName);
      case 'agent': {
        const startedAt = performance.now();
        if (inject.action === 'kill') {
          await mac.killAgent('SIGKILL');
          const killed = !inject.withVm || killTartRun(mac.tartHome, vmName);
          await mac.startAgent();
          if (!killed) return false;
        } else {
          const { agent } = mac;
          if (inject.withVm) mac.setFault(vmName, 'freeze');
          agent?.signal('SIGSTOP');
          await sleep(inject.forMs);
          if (inject.withVm) clearFault(mac.tartHome, vmName, 'freeze');
          agent?.signal('SIGCONT');
        }
        watched.agentAwayMs = performance.now() - startedAt;
        return true;
      }
      case 'network': {
        const network = this.#networks[macIndex]!;
        network.cut();
        await sleep(inject.forMs);
        network.restore();
        watched.agentAwayMs = inject.forMs;
        return true;
      }
      case 'controller': {
        if (this.outages.some(({ until }) => until === Number.POSITIVE_INFINITY)) return false;
        const outage: Outage = { from: Date.now(), until: Number.POSITIVE_INFINITY };
        this.outages.push(outage);
        await farm.killController();
        await sleep(CONTROLLER_AWAY_MS);
        await farm.startController();
        outage.until = Date.now();
        return true;
      }
      case 'user': {
        if (isOver()) return false;
        // The controller refuses this if the build has ended by itself.
        return farm.api.cancel(watched.buildId).then(
          ({ status }) => status === 'cancelled',
          () => false,
        );
      }
    }
  }
}

function killTartRun(tartHome: string, vmName: string): boolean {
  const run = listRuns(tartHome).find((one) => one.vmName === vmName);
  if (run) process.kill(run.runner.pid, 'SIGKILL');
  return run !== undefined;
}

/**
 * Gives the fault to the next clone of that Mac. Its agent has a single slot and is about to make this
 * clone.
 */
async function faultClone({ farm, macIndex, vmName, isOver }: Place, fault: string): Promise<boolean> {
  const { tartHome } = farm.mac(macIndex);
  const [name = ''] = fault.split(':');
  faultNextClone(tartHome, fault);
  const giveUpAt = performance.now() + CLONE_WITHIN_MS;
  while (performance.now() < giveUpAt) {
    if (waitingForClones(tartHome) === 0) {
      // If the clone itself must fail or hang, no VM remains in which the fault could be seen.
      if (name.startsWith('clone-')) return true;
      if (readFaults(vmFolder(tartHome, vmName)).has(name)) return true;
    }
    if (isOver()) break;
    await sleep(20);
  }
  return false;
}

const waitingForClones = (tartHome: string): number => {
  try {
    return readdirSync(`${tartHome}/faults-for-next-clones`).filter((name) => /^\d+$/.test(name)).length;
  } catch {
    return 0;
  }
};

const exists = (tartHome: string, vmName: string): boolean => readdirSync(`${tartHome}/vms`).includes(vmName);

/** The moment that an event of an agent shows. */
function momentOf(event: TimedAgentEvent): Moment | null {
  if (event.type === 'claimed') return 'claimed';
  if (event.type === 'step' && event.status === 'done') return STEP_MOMENTS[event.step] ?? null;
  if (event.type === 'stage' && (event.stage === 'building' || event.stage === 'collecting')) return event.stage;
  return null;
}
const STEP_MOMENTS: Partial<Record<string, Moment>> = { run: 'running', ssh: 'connected', monitor: 'checked' };
