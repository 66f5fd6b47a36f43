/** `expo-worker run`: runs the agent in the foreground. The first signal drains it, the second stops it. */
import { fstatSync, ftruncateSync } from 'node:fs';
import { runAgent } from '../agent/agent.ts';
import { createEventPrinter } from '../agent/event-printer.ts';
import { LogFile } from '../agent/log-file.ts';
import { loadConfig } from '../config.ts';
import { keepAwake } from '../mac/keep-awake.ts';
import { createMac } from '../mac/programs.ts';

export interface RunOptions {
  config: string;
  json: boolean;
  once: boolean;
  verbose: boolean;
  /** Where to write instead of standard output. */
  logFile?: string | undefined;
}

export async function runCommand({ config: configPath, json, once, verbose, logFile }: RunOptions): Promise<void> {
  const config = await loadConfig(configPath);
  const drain = new AbortController();
  const stop = new AbortController();
  const onSignal = () => (drain.signal.aborted ? stop : drain).abort();
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  // The program that reads our output may end before us. The builds go on.
  process.stdout.on('error', () => {});
  using _awake = keepAwake(createMac());
  using file = logFile === undefined ? null : new LogFile(logFile);
  if (logFile !== undefined) shortenErrors();
  try {
    const level = json || verbose ? 'debug' : config.logLevel;
    const onEvent = createEventPrinter({ json, level, ...(file && { out: file, dates: true }) });
    await runAgent({ config, configPath, onEvent, drain: drain.signal, stop: stop.signal, once });
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}

const ERRORS_MAX_BYTES = 1024 * 1024;

/** launchd holds the file of our standard error open for appending, so we can empty it but not rename it. */
function shortenErrors(): void {
  const found = fstatSync(2);
  if (found.isFile() && found.size > ERRORS_MAX_BYTES) ftruncateSync(2);
}
