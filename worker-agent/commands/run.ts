/** `expo-worker run`: the agent in the foreground. The first signal drains, the second stops now. */
import { runAgent } from '../agent.ts';
import { loadConfig } from '../config.ts';
import { createEventLogger } from '../logger.ts';

export interface RunOptions {
  config: string;
  json: boolean;
  once: boolean;
  verbose: boolean;
}

export async function runCommand({ config: configPath, json, once, verbose }: RunOptions): Promise<void> {
  const config = await loadConfig(configPath);
  const drain = new AbortController();
  const stop = new AbortController();
  const onSignal = () => (drain.signal.aborted ? stop : drain).abort();
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  // Whoever reads our output may go away; the builds stay.
  process.stdout.on('error', () => {});
  try {
    const onEvent = createEventLogger({ json, level: json || verbose ? 'debug' : config.logLevel });
    await runAgent({ config, configPath, onEvent, drain: drain.signal, stop: stop.signal, once });
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}
