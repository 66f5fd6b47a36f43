/** Runs the real agent as a process of its own, which a test may kill, and reads its events. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import { until } from './until.ts';

const EXPO_WORKER = new URL('../../../worker-agent/expo-worker.ts', import.meta.url).pathname;

interface AgentOptions {
  configPath: string;
  env?: Record<string, string>;
  /** The entry of another release. */
  entry?: string;
}

export function startAgent({ configPath, env = {}, entry = EXPO_WORKER }: AgentOptions) {
  const child = spawn(process.execPath, [entry, 'run', '--json', '--config', configPath], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const events: AgentEvent[] = [];
  const other: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)));
  createInterface({ input: child.stderr }).on('line', (line) => other.push(line));
  let hasLeft = false;
  // All that the agent has said is read only at `close`.
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  void exited.then(() => {
    hasLeft = true;
  });
  const said = () =>
    `${other.join('\n')}\n${events
      .filter(({ type }) => type !== 'beat')
      .map((event) => JSON.stringify(event))
      .join('\n')}`;
  return {
    pid: child.pid!,
    events,
    exited,
    said,
    has: (part: Partial<AgentEvent>) => events.some((event) => fits(event, part)),
    async until(part: Partial<AgentEvent>, withinMs = 120_000): Promise<AgentEvent> {
      const find = () => {
        if (hasLeft && !events.some((event) => fits(event, part))) throw new Error(`the agent has left\n${said()}`);
        return events.find((event) => fits(event, part));
      };
      return await until(find, `${JSON.stringify(part)} in\n${said()}`, withinMs).catch((error) => {
        throw new Error(`${error.message}\n${said()}`);
      });
    },
    signal: (name: NodeJS.Signals) => child.kill(name),
    async [Symbol.asyncDispose]() {
      // The second signal tells the agent to leave now. Both at once may arrive as one.
      child.kill('SIGTERM');
      const again = setTimeout(() => child.kill('SIGTERM'), 200);
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      await exited;
      for (const each of [again, timer]) clearTimeout(each);
    },
  };
}

const fits = (event: AgentEvent, part: Partial<AgentEvent>) =>
  Object.entries(part).every(([key, value]) => (event as Record<string, unknown>)[key] === value);
