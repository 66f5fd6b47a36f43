/**
 * Runs a whole Tartbeat on this machine: a real controller, and Macs with real agents and simulated VMs. The
 * demo and the end-to-end tests use it.
 *
 *   await using farm = await startFarm({ workers: 1 });
 *   const build = await farm.submit({ command: 'make', platform: 'ios' }, projectDir);
 *   const ended = await farm.waitFor(build.id, ({ endedAt }) => endedAt !== null);
 *
 * Invariant: everything of a farm is below one folder and serves this farm only. When the farm is disposed
 * of, or could not be started, no process is left and the folder is deleted.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Build, BuildDetail, BuildRequestInput, Worker, WorkerState } from '#contract';
import { AdminClient } from '../../client/admin-client.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { packSource } from '../../client/packing/pack-source.ts';
import { ProjectClient } from '../../client/project-client.ts';
import { Connection } from '../../client/request.ts';
import type { AgentConfigInput } from '../../worker-agent/config.ts';
import type { TartVm } from '../../worker-agent/tart/answers.ts';
import type { TimedAgentEvent } from './agent-process.ts';
import { type ControllerOptions, type LocalController, type Secrets, startController } from './controller.ts';
import { endProcessesBelow, FOLDER_MARK } from './leftovers.ts';
import { SimulatedMac } from './simulated-mac.ts';

const POLL_MS = 150;
const WAIT_MS = 60_000;
/** The cron does not run by itself on this machine, so the farm runs it this often. */
const SWEEP_EVERY_MS = 60_000;

export interface FarmOptions {
  /** The number of Macs. Default 1. */
  workers?: number;
  /** The Worker to run as the controller. Default: the deployed one. */
  entry?: string;
  /** Variables of the Worker, for an `entry` that reads them. */
  vars?: Record<string, string>;
  /**
   * If true, each Mac takes builds only from the pool that has its name. Otherwise all Macs share one pool.
   */
  ownPools?: boolean;
  /** Settings for each agent. */
  config?: Partial<AgentConfigInput>;
  /** How long each VM boots, in addition to the simulator's own time. */
  bootMs?: number;
  /** If false, the caller starts the agents with `startAgent`. */
  startAgents?: boolean;
  /** If true, the folder is not deleted. */
  keep?: boolean;
  /** Called before everything else, with the values that `abandonFarm` needs. */
  onBegin?: (begun: Pick<Farm, 'dir' | 'macs'>) => void;
  /** Aborts the start. */
  signal?: AbortSignal;
  onEvent?: AgentListener;
  /** Called with each line that the controller prints. */
  onControllerLine?: (line: string) => void;
  /** Called when a part of the farm has started. */
  onPart?: (part: 'controller' | 'worker' | 'base image' | 'agent', detail: string, durationMs: number) => void;
}

/** `worker` is the number of the Mac, from 0. */
type AgentListener = (event: TimedAgentEvent, worker: number) => void;

interface WaitOptions {
  /** Default 60 s. */
  withinMs?: number;
  signal?: AbortSignal;
}

export class Farm implements AsyncDisposable {
  readonly dir: string;
  /** Uses the admin's key. */
  readonly api: BuildsClient;
  readonly admin: AdminClient;
  readonly projects: ProjectClient;
  readonly macs: readonly SimulatedMac[];
  readonly #stack: AsyncDisposableStack;
  readonly #listeners: Set<AgentListener>;
  readonly #restart: (port: number, secrets: Secrets) => Promise<LocalController>;
  readonly #running: { controller: LocalController };
  #archives = 0;

  constructor(parts: {
    dir: string;
    running: { controller: LocalController };
    macs: SimulatedMac[];
    stack: AsyncDisposableStack;
    listeners: Set<AgentListener>;
    restart: (port: number, secrets: Secrets) => Promise<LocalController>;
  }) {
    this.dir = parts.dir;
    this.#running = parts.running;
    this.#restart = parts.restart;
    const { url, secrets } = this.controller;
    const connection = new Connection({ url, key: secrets.ADMIN_KEY });
    this.api = new BuildsClient(connection);
    this.admin = new AdminClient(connection);
    this.projects = new ProjectClient(connection);
    this.macs = parts.macs;
    this.#stack = parts.stack;
    this.#listeners = parts.listeners;
  }

  get controller(): LocalController {
    return this.#running.controller;
  }

  /** Calls `listener` with every event of the agents, until the result is disposed of. */
  listen(listener: AgentListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Packs the folder, uploads it, and submits the build. */
  async submit(request: Omit<BuildRequestInput, 'source'>, projectDir: string, signal?: AbortSignal): Promise<Build> {
    const archive = await packSource(projectDir, join(this.dir, `source-${++this.#archives}.tar.gz`));
    await this.api.upload(archive, signal);
    return this.api.submit({ ...request, source: { sha256: archive.sha256 } });
  }

  waitFor(buildId: string, holds: (build: BuildDetail) => boolean, options?: WaitOptions): Promise<BuildDetail> {
    const words = ({ status, verdict, waitingFor }: BuildDetail) =>
      `build ${buildId} is ${status}${verdict ? ` (${verdict.code}: ${verdict.message})` : ''}${waitingFor ? `: ${waitingFor}` : ''}`;
    return waitUntil(() => this.api.build(buildId), holds, words, options);
  }

  waitForWorker(state: WorkerState, index = 0, options?: WaitOptions): Promise<Worker> {
    const { workerId } = this.mac(index);
    return waitUntil(
      () => this.admin.worker(workerId),
      (worker) => worker.state === state,
      (worker) => `worker ${worker.name} is ${worker.state}: ${worker.stateReason}`,
      options,
    );
  }

  mac(index = 0): SimulatedMac {
    const mac = this.macs[index];
    if (!mac) throw new RangeError(`there is no Mac ${index} in this farm of ${this.macs.length}`);
    return mac;
  }

  /** The clones that `tart list` shows on one Mac. */
  vms = (index = 0): Promise<TartVm[]> => this.mac(index).vms();

  /** Turns a fault of the simulator on, on the Mac that has this VM. */
  async setFault(vmName: string, fault: string): Promise<void> {
    for (const mac of this.macs)
      if ((await mac.vms()).some(({ name }) => name === vmName)) return mac.setFault(vmName, fault);
    throw new RangeError(`no Mac has a VM ${vmName}`);
  }

  killAgent = (signal: NodeJS.Signals = 'SIGKILL', index = 0): Promise<void> => this.mac(index).killAgent(signal);
  startAgent = (index = 0): Promise<void> => this.mac(index).startAgent();

  /** Kills the controller without a warning, like a machine that loses its power. Its state stays. */
  async killController(): Promise<void> {
    this.controller.signal('SIGKILL');
    await this.controller.ended;
  }

  /** Starts the controller again at the same address, with the state that the last one left. */
  async startController(changed: Partial<Secrets> = {}): Promise<void> {
    const { url, secrets } = this.controller;
    this.#running.controller = await this.#restart(Number(new URL(url).port), { ...secrets, ...changed });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/**
 * Ends everything of a farm at once, in any state of its start or end. It reports no build and shuts no VM
 * down. For callers that have no time left. Do not use the farm afterwards.
 */
export async function abandonFarm({ dir, macs }: Pick<Farm, 'dir' | 'macs'>, { keep = false } = {}): Promise<void> {
  for (const mac of macs) await mac.abandon();
  endProcessesBelow(dir);
  if (!keep) await rm(dir, { recursive: true, force: true, maxRetries: 10 });
}

/**
 * Rejects with the reason why the farm could not be started, or with that of `signal`. Then nothing of the
 * farm is left.
 */
export async function startFarm(options: FarmOptions = {}): Promise<Farm> {
  const { signal, keep = false, onPart = () => {}, startAgents = true } = options;
  // The real path, because processes are found by it, and some programs resolve links.
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'tartbeat-farm-')));
  const macs: SimulatedMac[] = [];
  const listeners = new Set<AgentListener>(options.onEvent ? [options.onEvent] : []);
  options.onBegin?.({ dir, macs });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => abandonFarm({ dir, macs }, { keep }));
  const env = { [FOLDER_MARK]: dir };
  let startedAt = performance.now();
  const stands = (part: Parameters<typeof onPart>[0], detail: string) => {
    onPart(part, detail, Math.round(performance.now() - startedAt));
    startedAt = performance.now();
  };

  const controllerOptions: ControllerOptions = {
    stateDir: join(dir, 'controller'),
    entry: options.entry,
    vars: options.vars,
    env,
    onLine: options.onControllerLine,
  };
  const controller = await startController({ ...controllerOptions, signal });
  const running = { controller };
  stack.defer(() => running.controller.stop());
  stands('controller', controller.url);
  const sweeping = setInterval(() => void controller.sweep().catch(() => {}), SWEEP_EVERY_MS);
  stack.defer(() => clearInterval(sweeping));

  const admin = new AdminClient(new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY }));
  // All Macs stop at the same time, because each may need some seconds for its VM.
  stack.defer(async () => void (await Promise.all(macs.map((mac) => mac.stop()))));
  for (let index = 0; index < (options.workers ?? 1); index++) {
    signal?.throwIfAborted();
    const name = `mac-${index + 1}`;
    const { worker, key } = await admin.registerWorker({ name, pool: options.ownPools ? name : undefined });
    stands('worker', `${worker.name}, ${worker.id}`);
    const mac = new SimulatedMac({
      dir: join(dir, worker.name),
      workerId: worker.id,
      apiKey: key,
      controllerUrl: controller.url,
      config: options.config,
      bootMs: options.bootMs,
      env,
      onEvent: (event) => {
        for (const listener of listeners) listener(event, index);
      },
    });
    macs.push(mac);
    await mac.setUp();
    stands('base image', mac.tartHome);
  }
  if (startAgents)
    await Promise.all(
      macs.map(async (mac) => {
        await mac.startAgent(signal);
        stands('agent', `process ${mac.agent?.pid}`);
      }),
    );
  const restart = (port: number, secrets: Secrets) =>
    startController({ ...controllerOptions, port, secrets, migrated: true });
  return new Farm({ dir, running, macs, listeners, restart, stack: stack.move() });
}

/** Asks until `holds` is true. Otherwise throws an error that contains the last answer. */
async function waitUntil<T>(
  ask: () => Promise<T>,
  holds: (answer: T) => boolean,
  words: (answer: T) => string,
  { withinMs = WAIT_MS, signal }: WaitOptions = {},
): Promise<T> {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    signal?.throwIfAborted();
    const answer = await ask();
    if (holds(answer)) return answer;
    if (performance.now() > giveUpAt)
      throw new Error(`the farm did not reach the expected state within ${withinMs / 1_000} s: ${words(answer)}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}
