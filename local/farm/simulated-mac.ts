/**
 * Runs one Mac of a farm: a registered worker, a TART_HOME of the simulator with a base image, a config, and
 * the agent that uses them.
 *
 * Invariant: everything of the Mac is in one folder, and all its processes end with `stop`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AgentConfigInput, baseImageName, saveConfig } from '../../worker-agent/config.ts';
import type { TartVm } from '../../worker-agent/tart/answers.ts';
import { createTart, type Tart } from '../../worker-agent/tart/tart.ts';
import { createBaseImage } from '../../worker-agent/tart-simulator/home/base-image.ts';
import { faultNextClone, setFault } from '../../worker-agent/tart-simulator/home/faults.ts';
import { generateKeyPair } from '../../worker-agent/tart-simulator/key-pair.ts';
import { sweepSimulator, TART_SIMULATOR_PATH } from '../../worker-agent/tart-simulator/simulator.ts';
import { AgentProcess, type TimedAgentEvent } from './agent-process.ts';
import { freePort } from './free-port.ts';

const VM_NAME = 'expo-build-vm';
const VM_USER = 'admin';
/** The names that the agent gives to the VMs of images. Its clones have names of another form. */
const IMAGE = /^(?!tartbeat-).+-base-[a-z0-9]+$/;

interface SimulatedMacOptions {
  dir: string;
  workerId: string;
  apiKey: string;
  controllerUrl: string;
  /** More settings of the agent, beside those that the farm needs. */
  config?: Partial<AgentConfigInput>;
  env?: Record<string, string>;
  /** How long its VMs boot. */
  bootMs?: number;
  onEvent?: (event: TimedAgentEvent) => void;
}

export class SimulatedMac implements AsyncDisposable {
  readonly workerId: string;
  readonly configPath: string;
  readonly tartHome: string;
  readonly tart: Tart;
  /** All events of the agent, from all its runs. */
  readonly events: TimedAgentEvent[] = [];
  readonly #options: SimulatedMacOptions;
  #agent: AgentProcess | null = null;

  constructor(options: SimulatedMacOptions) {
    this.#options = options;
    this.workerId = options.workerId;
    this.configPath = join(options.dir, 'expo-worker', 'config.json');
    this.tartHome = join(options.dir, 'tart');
    this.tart = createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: this.tartHome });
  }

  /** Makes the base image, the key of its VMs, and the config. */
  async setUp(): Promise<void> {
    const { dir, apiKey, controllerUrl, config, bootMs } = this.#options;
    const keyPath = join(dir, 'vm_key');
    const key = generateKeyPair();
    mkdirSync(this.#tmp, { recursive: true, mode: 0o700 });
    writeFileSync(keyPath, key.private, { mode: 0o600 });
    writeFileSync(`${keyPath}.pub`, `${key.public}\n`);
    const sshPort = await freePort();
    await createBaseImage({
      ...{ tartHome: this.tartHome, name: baseImageName({ vmName: VM_NAME }), user: VM_USER },
      ...{ publicKey: key.public, sshPort, bootMs },
    });
    saveConfig(this.configPath, {
      vmName: VM_NAME,
      vmUser: VM_USER,
      vmSshKey: keyPath,
      vmSshPort: sshPort,
      tartPath: TART_SIMULATOR_PATH,
      tartHome: this.tartHome,
      controllerUrl,
      apiKey,
      ...config,
    });
  }

  get #tmp(): string {
    return join(this.#options.dir, 'tmp');
  }

  get agent(): AgentProcess | null {
    return this.#agent;
  }

  /** Resolves when the agent takes builds. Throws if it is running. */
  async startAgent(signal?: AbortSignal): Promise<void> {
    if (this.#agent?.running) throw new Error(`the agent of ${this.workerId} is running`);
    const { env = {}, onEvent } = this.#options;
    this.#agent = new AgentProcess({
      configPath: this.configPath,
      // Each Mac has its own folder, because create-base-image.sh has its locks in it.
      env: { ...env, TMPDIR: this.#tmp },
      onEvent: (event) => {
        this.events.push(event);
        onEvent?.(event);
      },
    });
    await this.#agent.started(signal);
  }

  /** Resolves when the agent has ended. After SIGKILL its VMs continue. */
  async killAgent(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (signal === 'SIGKILL') this.#agent?.kill();
    else this.#agent?.signal(signal);
    await this.#agent?.exited;
  }

  /** The VMs of `tart list` except images, running or not. Throws if tart does not answer. */
  async vms(): Promise<TartVm[]> {
    const listed = await this.tart.list();
    if (!listed.ok) throw new Error(listed.message);
    return listed.vms.filter(({ name }) => !IMAGE.test(name));
  }

  setFault(vmName: string, fault: string): void {
    setFault(this.tartHome, vmName, fault);
  }

  faultNextClone(...faults: string[]): void {
    faultNextClone(this.tartHome, ...faults);
  }

  /** Stops the agent in order, then ends all its leftovers. */
  async stop(): Promise<void> {
    await this.#agent?.stop();
    await sweepSimulator(this.tartHome);
  }

  /** Kills the agent and all its leftovers, without an orderly end. */
  async abandon(): Promise<void> {
    this.#agent?.kill();
    await sweepSimulator(this.tartHome);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
