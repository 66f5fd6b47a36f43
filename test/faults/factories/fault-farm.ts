/**
 * Runs a farm whose parts a test may break: several Macs, each with its own pool. A test takes one Mac for
 * itself and gives it back clean.
 *
 * Invariant: when a test takes a Mac, no VM runs on it and no fault is set, with any earlier test.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BuildRequestInput, Timeouts } from '#contract';
import type { TimedAgentEvent } from '../../../local/farm/agent-process.ts';
import { type Farm, type FarmOptions, startFarm } from '../../../local/farm/farm.ts';
import type { SimulatedMac } from '../../../local/farm/simulated-mac.ts';
import { type AgentConfigInput, saveConfig } from '../../../worker-agent/config.ts';
import type { AttemptState } from '../../../worker-agent/state/journal.ts';
import { HOST_SEEN_FROM_VM } from '../../../worker-agent/tart-simulator/guest/gateway.ts';
import { clearFault, readFaults } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { sweepSimulator } from '../../../worker-agent/tart-simulator/simulator.ts';
import { FaultyBuild } from './faulty-build.ts';
import { ChaosProxy, type SeenRequest, type Treatment } from './proxy.ts';

/** Long, because a test runs several simulated Macs on a machine that may be busy. */
export const PATIENCE_MS = 120_000;
/** If the tests asked the controller more often, it would be slower with heartbeats. */
const POLL_MS = 200;

/** Short enough that a test can wait for one, long enough for beats of 1 s on a busy machine. */
export const TIMEOUTS: Timeouts = {
  heartbeatTimeoutMs: 12_000,
  workerTimeoutMs: 16_000,
  bootTimeoutMs: 90_000,
  noOutputTimeoutMs: 90_000,
  buildTimeoutMs: 240_000,
  queueTimeoutMs: 600_000,
};

export type FaultyBuildRequest = Partial<Omit<BuildRequestInput, 'source'>> & { files?: Record<string, string> };

export interface FaultFarmOptions extends FarmOptions {
  macs: number;
  /** True if agents and VMs reach the controller through proxies that a test can make fail. */
  diverted?: boolean;
}

/** The two proxies of one Mac to the controller: one for its agent, one for its VMs. */
export interface Ways {
  agent: ChaosProxy;
  vm: ChaosProxy;
}

export class FaultFarm implements AsyncDisposable {
  readonly farm: Farm;
  readonly #free: number[];
  readonly #waiting: ((index: number) => void)[] = [];
  readonly #ways: Ways[];

  static async start({ macs, diverted = false, ...options }: FaultFarmOptions): Promise<FaultFarm> {
    const entry = fileURLToPath(new URL('controller.ts', import.meta.url));
    const farm = await startFarm({ entry, workers: macs, ownPools: true, startAgents: !diverted, ...options });
    return new FaultFarm(farm, diverted ? await Promise.all(farm.macs.map((mac) => divert(farm, mac))) : []);
  }

  constructor(farm: Farm, ways: Ways[]) {
    this.farm = farm;
    this.#ways = ways;
    this.#free = farm.macs.map((_, index) => index);
  }

  /** Takes a Mac. Waits until one is free. */
  async take(): Promise<FaultyMac> {
    const index = this.#free.shift() ?? (await new Promise<number>((resolve) => this.#waiting.push(resolve)));
    return new FaultyMac(this.farm, index, this.#ways[index], () => {
      const next = this.#waiting.shift();
      if (next) next(index);
      else this.#free.push(index);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.farm[Symbol.asyncDispose]();
    for (const { agent, vm } of this.#ways) for (const way of [agent, vm]) await way[Symbol.asyncDispose]();
  }
}

async function divert(farm: Farm, mac: SimulatedMac): Promise<Ways> {
  const [agent, vm] = [await ChaosProxy.start(farm.controller.url), await ChaosProxy.start(farm.controller.url)];
  const config = JSON.parse(readFileSync(mac.configPath, 'utf8')) as AgentConfigInput;
  const vmControllerUrl = `http://${HOST_SEEN_FROM_VM}:${vm.port}`;
  saveConfig(mac.configPath, { ...config, controllerUrl: agent.url, vmControllerUrl });
  await mac.startAgent();
  return { agent, vm };
}

export class FaultyMac implements AsyncDisposable {
  readonly farm: Farm;
  readonly index: number;
  readonly mac: SimulatedMac;
  readonly pool: string;
  readonly baseImage = 'expo-build-vm-base-snapshot';
  readonly #ways: Ways | undefined;
  readonly #giveBack: () => void;
  readonly #from: number;
  readonly #builds: FaultyBuild[] = [];
  #settled = false;

  constructor(farm: Farm, index: number, ways: Ways | undefined, giveBack: () => void) {
    this.farm = farm;
    this.index = index;
    this.mac = farm.mac(index);
    this.pool = `mac-${index + 1}`;
    this.#ways = ways;
    this.#giveBack = giveBack;
    this.#from = this.mac.events.length;
  }

  get ways(): Ways {
    if (!this.#ways) throw new Error('the farm was started without diverted: true');
    return this.#ways;
  }

  /** Treats both ways in the same manner. */
  treat(how: Treatment | ((request: SeenRequest) => Treatment)): void {
    this.ways.agent.treat(how);
    this.ways.vm.treat(how);
  }

  /** The events that the agent has logged since the test took the Mac. */
  get events(): TimedAgentEvent[] {
    return this.mac.events.slice(this.#from);
  }

  /** Submits a build with these bytes as its source. */
  async buildFrom(archive: Buffer, request: FaultyBuildRequest): Promise<FaultyBuild> {
    const dir = mkdtempSync(join(tmpdir(), 'tartbeat-archive-'));
    try {
      const path = join(dir, 'archive');
      writeFileSync(path, archive);
      const sha256 = createHash('sha256').update(archive).digest('hex');
      await this.farm.api.upload({ path, sizeBytes: archive.length, sha256 });
      const { id } = await this.farm.api.submit({ ...this.#request(request), source: { sha256 } });
      return this.watch(id);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  /** Submits a build that only this Mac takes. */
  async build({ files = { 'a.txt': 'A\n' }, ...request }: FaultyBuildRequest): Promise<FaultyBuild> {
    const project = mkdtempSync(join(tmpdir(), 'tartbeat-project-'));
    try {
      for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
      const { id } = await this.farm.submit(this.#request(request), project);
      return this.watch(id);
    } finally {
      rmSync(project, { recursive: true, force: true });
    }
  }

  #request({ files: _, ...request }: FaultyBuildRequest): Omit<BuildRequestInput, 'source'> {
    const timeouts = { ...TIMEOUTS, ...request.timeouts } as BuildRequestInput['timeouts'];
    return { platform: 'ios', command: 'true', pool: this.pool, ...request, timeouts };
  }

  watch(buildId: string): FaultyBuild {
    const build = new FaultyBuild(this, buildId);
    this.#builds.push(build);
    return build;
  }

  /** Resolves with the first such event since the Mac was taken. */
  async says<T extends TimedAgentEvent['type']>(
    type: T,
    fields: Partial<Record<string, unknown>> = {},
  ): Promise<Extract<TimedAgentEvent, { type: T }>> {
    const isIt = (event: TimedAgentEvent) => matches(event, { type, ...fields });
    await this.until(() => this.events.some(isIt), `the agent says ${type} ${JSON.stringify(fields)}`);
    return this.events.find(isIt) as Extract<TimedAgentEvent, { type: T }>;
  }

  async until(holds: () => boolean | Promise<boolean>, what: string, withinMs = PATIENCE_MS): Promise<void> {
    const giveUpAt = performance.now() + withinMs;
    for (let last: unknown; ; ) {
      try {
        if (await holds()) return;
      } catch (error) {
        last = error; // a controller that is being restarted, a tart that is being broken
      }
      if (performance.now() > giveUpAt)
        throw new Error(`not within ${withinMs / 1_000} s: ${what}\n${last ?? ''}\n${this.#story()}`);
      await sleep(POLL_MS);
    }
  }

  /** Sets the fault in the VM that runs now. */
  async fault(fault: string): Promise<void> {
    this.mac.setFault(await this.vmName(), fault);
  }

  /** Whether the VM that runs now still has the fault. One that strikes once is then forgotten. */
  async hasFault(name: string): Promise<boolean> {
    return readFaults(join(this.mac.tartHome, 'vms', await this.vmName())).has(name);
  }

  async clearFault(fault: string): Promise<void> {
    this.clearFaultOf(await this.vmName(), fault);
  }

  clearFaultOf(vmName: string, fault: string): void {
    clearFault(this.mac.tartHome, vmName, fault);
  }

  /** Starts a VM that does not belong to Tartbeat. Disposing deletes it. */
  async otherVm(): Promise<AsyncDisposable> {
    const { tart, tartHome } = this.mac;
    const name = 'other';
    const cloned = await tart.clone(this.baseImage, name);
    const set = await tart.set(name, {});
    const started = await tart.startRun(name, { logFile: join(tartHome, 'other.log') });
    const found = await tart.ip(name, { waitSeconds: 60 });
    if (!cloned.ok || !set.ok || !started.ok || !found.ok) throw new Error('the other VM does not run');
    return { [Symbol.asyncDispose]: async () => void (await tart.remove(name, { run: started.run })) };
  }

  /** The key that is in the config of the agent now. */
  apiKey(): string {
    return (JSON.parse(readFileSync(this.mac.configPath, 'utf8')) as { apiKey: string }).apiKey;
  }

  /** Asks the controller with any key. Rejects with the status of a refusal. */
  async ask<T>(method: string, path: string, key: string): Promise<T> {
    const response = await fetch(`${this.farm.controller.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}`);
    return (await response.json()) as T;
  }

  /** The agent's journal of an attempt. */
  journal(buildId: string, attempt = 1): AttemptState {
    const path = join(this.mac.configPath, '..', 'state', `${buildId}-${attempt}`, 'journal.json');
    return JSON.parse(readFileSync(path, 'utf8')) as AttemptState;
  }

  killTartRun(buildId: string, attempt = 1): void {
    process.kill(this.journal(buildId, attempt).run!.pid, 'SIGKILL');
  }

  /** Creates a file in the source of a running build. The command of the build waits for this file. */
  async inSource(buildId: string, name: string, attempt = 1): Promise<void> {
    const home = join(this.mac.tartHome, 'vms', await this.vmName(), 'guest', 'Users', 'admin');
    writeFileSync(join(home, '.tartbeat', `${buildId}-${attempt}`, 'source', name), '');
  }

  /** Stops the agent during `work`. It writes a file by a rename, so a file could disappear. */
  async whileAgentStands(work: () => void): Promise<void> {
    const { agent } = this.mac;
    const threads = process.platform === 'linux' ? ['-L'] : [];
    const stands = () => {
      const states = execFileSync('ps', [...threads, '-o', 'stat=', '-p', String(agent?.pid)], { encoding: 'utf8' });
      return states
        .trim()
        .split('\n')
        .every((state) => state.startsWith('T'));
    };
    agent?.signal('SIGSTOP');
    try {
      await this.until(stands, 'the agent stands');
      work();
    } finally {
      agent?.signal('SIGCONT');
    }
  }

  warnings(words: string): TimedAgentEvent[] {
    return this.events.filter((event) => event.type === 'warning' && event.message.includes(words));
  }

  warned = (words: string): boolean => this.warnings(words).length > 0;

  sshIsRefused = async (): Promise<boolean> => (await this.#knock()) === 'refused';
  sshHangs = async (): Promise<boolean> => (await this.#knock()) === 'silent';

  async #knock(): Promise<'refused' | 'silent' | 'answers'> {
    const found = await this.mac.tart.ip(await this.vmName());
    if (!found.ok) throw new Error(found.message);
    const { vmSshPort } = JSON.parse(readFileSync(this.mac.configPath, 'utf8')) as { vmSshPort: number };
    const socket = connect({ host: found.address, port: vmSshPort, timeout: 1_000 });
    return (await new Promise((resolve) => {
      socket.once('data', () => resolve('answers'));
      socket.once('timeout', () => resolve('silent'));
      socket.once('error', () => resolve('refused'));
      socket.once('close', () => resolve('refused'));
    }).finally(() => socket.destroy())) as 'refused' | 'silent' | 'answers';
  }

  async vmName(): Promise<string> {
    const [vm] = await this.mac.vms();
    if (!vm) throw new Error(`${this.pool} has no VM`);
    return vm.name;
  }

  /** Kills the agent with its process group when it logs such an event. Resolves when the agent has ended. */
  killAgentAt(fields: Record<string, unknown>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const listening = this.farm.listen((event, index) => {
      if (index !== this.index || !matches(event, fields)) return;
      listening[Symbol.dispose]();
      this.mac.killAgent().then(resolve, reject);
    });
    return promise;
  }

  /**
   * Does the same as `settles`, then runs a build that succeeds. Tests call it after a verdict of the
   * infrastructure, because three of them in a row would put the worker into quarantine.
   */
  async recovers(): Promise<void> {
    await this.settles();
    this.#settled = false;
    const next = await this.build({ command: 'echo next' });
    await next.succeeds('next\n');
    await this.settles();
  }

  /** Waits until no VM exists and the worker is idle. Checks that no build has two endings. */
  async settles(): Promise<void> {
    await this.until(async () => (await this.mac.vms()).length === 0, 'the VM is gone');
    const isIdle = async () => (await this.farm.admin.worker(this.mac.workerId)).state === 'idle';
    await this.until(isIdle, 'the worker is idle');
    for (const build of this.#builds) await build.hasOneEnding();
    this.#settled = true;
  }

  /** Cleans the Mac completely, because a failed test may have left VMs and faults. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#ways) this.treat('pass');
      if (this.#settled) return;
      for (const { id } of this.#builds) await this.farm.api.cancel(id).catch(() => {});
      this.mac.agent?.signal('SIGCONT');
      await this.mac.killAgent();
      await sweepSimulator(this.mac.tartHome);
      rmSync(join(this.mac.tartHome, 'faults-for-next-clones'), { recursive: true, force: true });
      rmSync(join(this.mac.tartHome, 'vms', this.baseImage, 'faults'), { recursive: true, force: true });
      await this.mac.startAgent();
    } finally {
      this.#giveBack();
    }
  }

  #story(): string {
    return this.events
      .filter(({ type }) => type !== 'log')
      .slice(-25)
      .map((event) => JSON.stringify(event).slice(0, 400))
      .join('\n');
  }
}

const matches = (event: TimedAgentEvent, fields: Record<string, unknown>): boolean =>
  Object.entries(fields).every(([name, value]) => (event as unknown as Record<string, unknown>)[name] === value);
