/** Runs the real agent in this process, with limits that a test sets. */
import { runAgent } from '../../../worker-agent/agent/agent.ts';
import { loadConfig } from '../../../worker-agent/config.ts';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import type { AgentLimits } from '../../../worker-agent/time-limits.ts';

/** For a look at a VM that ends when all has been seen, however busy the machine is. */
export const NO_HURRY = { evidenceMs: 600_000, partitionedEvidenceMs: 600_000 };

export async function agentHere({ configPath }: { configPath: string }, limits: Partial<AgentLimits>) {
  const config = await loadConfig(configPath);
  const events: AgentEvent[] = [];
  const drain = new AbortController();
  const stop = new AbortController();
  const onEvent = (event: AgentEvent) => void events.push(event);
  const left = runAgent({ config, configPath, onEvent, drain: drain.signal, stop: stop.signal, limits });
  return {
    events,
    async [Symbol.asyncDispose]() {
      drain.abort();
      stop.abort();
      await left;
    },
  };
}
