/**
 * Runs the real agent, `expo-worker run --json`, as a process in a group of its own, and reads its events.
 *
 * Invariant: the code that starts the agent ends it. A signal reaches the agent only, like one from an
 * operator. `kill` ends its whole group.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent } from '../../worker-agent/events.ts';
import { PROJECT_ROOT } from './project-root.ts';

/** An event as the agent prints it with `--json`. `time` is ISO 8601 in UTC. */
export type TimedAgentEvent = AgentEvent & { time: string };

const EXPO_WORKER = join(PROJECT_ROOT, 'worker-agent', 'expo-worker.ts');
const START_TIMEOUT_MS = 30_000;
/** The agent needs up to 30 s to report the end and to take its VM down. */
const STOP_TIMEOUT_MS = 40_000;
const STDERR_LINES_MAX = 50;

interface AgentProcessOptions {
  configPath: string;
  /** The Node to use instead of this one. */
  nodePath?: string;
  /** The expo-worker to use instead of the one of this repository. */
  script?: string;
  env: Record<string, string>;
  onEvent: (event: TimedAgentEvent) => void;
}

export class AgentProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #errors: string[] = [];
  readonly #started = Promise.withResolvers<void>();
  /**
   * Resolves with the exit code, or with null if a signal ended the agent. By then all its output has been
   * read, because no process that it starts has its output.
   */
  readonly exited: Promise<number | null>;

  constructor({ configPath, nodePath = process.execPath, script = EXPO_WORKER, env, onEvent }: AgentProcessOptions) {
    this.#child = spawn(nodePath, [script, 'run', '--json', '--config', configPath], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('close', resolve);
      this.#child.once('error', () => resolve(null));
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const event = parse(line);
      if (!event) return this.#note(line);
      if (event.type === 'started') this.#started.resolve();
      onEvent(event);
    });
    createInterface({ input: this.#child.stderr! }).on('line', (line) => this.#note(line));
    this.#started.promise.catch(() => {}); // a caller that wants to know awaits started()
    void this.exited.then((exitCode) =>
      this.#started.reject(new Error(`the agent ended with exit code ${exitCode}\n${this.#errors.join('\n')}`)),
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when the agent knows its worker and the leftovers of a former run. Then it takes builds. */
  async started(signal?: AbortSignal): Promise<void> {
    const limit = AbortSignal.timeout(START_TIMEOUT_MS);
    const either = signal ? AbortSignal.any([signal, limit]) : limit;
    const aborted = new Promise<never>((_, reject) => {
      const onAbort = () => reject(limit.aborted ? new Error('the agent did not start within 30 s') : either.reason);
      if (either.aborted) onAbort();
      else either.addEventListener('abort', onAbort, { once: true });
    });
    aborted.catch(() => {});
    await Promise.race([this.#started.promise, aborted]);
  }

  /** Sends the signal to the agent only. */
  signal(name: NodeJS.Signals): void {
    if (this.running) this.#child.kill(name);
  }

  /** Kills the agent and its process group. `tart run` and the VM have groups of their own and continue. */
  kill(): void {
    try {
      if (this.pid !== undefined) process.kill(-this.pid, 'SIGKILL');
    } catch {
      // The agent has already ended.
    }
  }

  /** Stops the agent at once. Its builds and their VMs end too. */
  async stop(): Promise<void> {
    // Two signals mean "stop now". We pause between them, because two that come too close could count as one.
    while (this.running) {
      this.signal('SIGTERM');
      await Promise.race([this.exited, sleep(200)]);
      this.signal('SIGTERM');
      if (await Promise.race([this.exited.then(() => true), sleep(STOP_TIMEOUT_MS, false, { ref: false })])) break;
      this.kill();
    }
    await this.exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #note(line: string): void {
    if (this.#errors.push(line) > STDERR_LINES_MAX) this.#errors.shift();
  }
}

function parse(line: string): TimedAgentEvent | null {
  try {
    return JSON.parse(line) as TimedAgentEvent;
  } catch {
    return null;
  }
}
