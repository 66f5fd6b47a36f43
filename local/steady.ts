/**
 * Runs `npm run test:steady`, which shows whether the tests are always right. `--help` lists the options.
 *
 * Invariant: after any end of it, no busy loop, no vitest and no process of a test is left.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { INTERRUPTED_EXIT_CODE, interruptSignal } from './farm/interrupt.ts';
import { endProcessesBelow } from './farm/leftovers.ts';
import { folderInMemory } from './farm/memory-folder.ts';
import { startBusyLoops } from './steady/busy-loops.ts';
import { HELP, parseSteadyOptions, type SteadyOptions, UsageError } from './steady/options.ts';
import { runSuite } from './steady/suite-run.ts';
import { Tally } from './steady/tally.ts';

const EXIT = { ok: 0, failed: 1, usage: 64, interrupted: INTERRUPTED_EXIT_CODE } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(words: string[]): Promise<number> {
  let options: SteadyOptions;
  try {
    options = parseSteadyOptions(words);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`test:steady: ${error.message}\n\n${HELP}`);
    return EXIT.usage;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  using folder = folderInMemory() ?? folderOnDisk();
  const signal = interruptSignal({
    onFirst: () => say('Interrupted. This is what was seen so far:'),
    abandon: async () => void endProcessesBelow(folder.path),
    onError: ({ message }) => say(message),
  });
  const tally = new Tally();
  {
    await using _loops = options.load ? startBusyLoops() : undefined;
    await runAgainAndAgain(options, folder.path, tally, signal);
  }
  say(tally.lines().join('\n'));
  if (tally.hasFailures) return EXIT.failed;
  return signal.aborted ? EXIT.interrupted : EXIT.ok;
}

async function runAgainAndAgain(
  { runs, projects, files }: SteadyOptions,
  folder: string,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  const args = files.length > 0 ? files : projects.flatMap((project) => ['--project', project]);
  for (let run = 1; run <= runs && !signal.aborted; run++) {
    const result = await runSuite({ args, folder: join(folder, String(run)), signal });
    if (signal.aborted) {
      // Failures before the interrupt count. The killed vitest is not a failure.
      if (result.results.some(({ failed }) => failed)) tally.add({ ...result, exitCode: 0 });
      return;
    }
    const failed = tally.add(result);
    const seconds = Math.round(result.durationMs / 1_000);
    say(`run ${run} of ${runs}: ${result.results.length} tests, ${failed.length} failed, ${seconds} s`);
    for (const { test, error } of failed) say(`  ${test}\n${error.replaceAll(/^/gm, '    ')}`);
    if (result.results.length > 0) continue;
    say(`No test ran. The end of what vitest said:\n${result.output}`);
    return;
  }
}

function folderOnDisk(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'tartbeat-steady-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 10 }) };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
