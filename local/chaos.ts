/**
 * Runs `npm run chaos`, which measures how well Tartbeat keeps its promise. `--help` lists the options.
 *
 * Invariant: after any end of it, none of its processes, VMs and folders is left.
 */
import { writeFile } from 'node:fs/promises';
import { HELP, parseChaosOptions, UsageError } from './chaos/options.ts';
import { ChaosOutput } from './chaos/output.ts';
import { planChaos } from './chaos/plan.ts';
import { runChaos } from './chaos/run.ts';
import { isKept, summarise } from './chaos/summary.ts';
import { abandonFarm } from './farm/farm.ts';
import { INTERRUPTED_EXIT_CODE, interruptSignal } from './farm/interrupt.ts';

const EXIT = { ok: 0, failed: 1, usage: 64, interrupted: INTERRUPTED_EXIT_CODE } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(words: string[]): Promise<number> {
  let options: ReturnType<typeof parseChaosOptions>;
  try {
    options = parseChaosOptions(words);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`chaos: ${error.message}\n\n${HELP}`);
    return EXIT.usage;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const { seed, builds, faults, workers, minutes, keep, kinds, jsonPath } = options;
  const output = new ChaosOutput(builds);
  let begun: Parameters<typeof abandonFarm>[0] | null = null;
  const signal = interruptSignal({
    onFirst: () => output.note('Interrupted. Stopping everything; press Ctrl-C again to stop at once.'),
    abandon: async () => void (begun && (await abandonFarm(begun, { keep }))),
    onError: ({ message }) => output.error(message),
  });

  try {
    const { judgements, measured } = await runChaos({
      plan: planChaos({ seed, builds, faults, kinds: kinds ?? undefined }),
      workers,
      limitMs: minutes === null ? Number.POSITIVE_INFINITY : minutes * 60_000,
      keep,
      signal,
      onBegin: (parts) => {
        begun = parts;
        if (keep) output.note(`The folder is ${parts.dir}.`);
      },
      onJudged: (judgement) => output.judged(judgement),
      onNote: (text) => output.note(text),
    });
    const command = `npm run chaos -- --builds ${builds} --workers ${workers} --faults ${faults} --seed ${seed}${minutes === null ? '' : ` --minutes ${minutes}`}${kinds ? ` --kinds ${kinds}` : ''}`;
    const summary = summarise(judgements, { command, seed, ...measured });
    output.summary(summary);
    if (jsonPath) await writeFile(jsonPath, `${JSON.stringify(summary, null, 2)}\n`);
    if (signal.aborted) return EXIT.interrupted;
    return isKept(summary) ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    output.error((error as Error).message);
    return EXIT.failed;
  }
}
