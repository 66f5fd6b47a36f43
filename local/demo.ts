/**
 * Runs `npm run demo`, which shows one build on this machine, from submission to artifact. `--help` lists its
 * other forms.
 *
 * Invariant: after any end of it, none of its processes, VMs and folders is left.
 */
import { checkFolders, HELP, parseDemoOptions, UsageError } from './demo/options.ts';
import { missingPrerequisites } from './demo/prerequisites.ts';
import { INTERRUPTED_EXIT_CODE, interruptSignal } from './farm/interrupt.ts';

const EXIT = { ok: 0, failed: 1, usage: 64, unavailable: 69, interrupted: INTERRUPTED_EXIT_CODE } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(words: string[]): Promise<number> {
  let options: ReturnType<typeof parseDemoOptions>;
  try {
    options = parseDemoOptions(words);
    if (!options.help) checkFolders(options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`demo: ${error.message}\n\n${HELP}`);
    return EXIT.usage;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const missing = missingPrerequisites();
  if (missing.length > 0) {
    process.stderr.write(`demo: The demo cannot run yet.\n${missing.map((line) => `  ${line}\n`).join('')}`);
    return EXIT.unavailable;
  }

  // Imported here and not above, because these modules need the packages that `npm ci` installs.
  const [{ runDemo }, { DemoOutput }, { abandonFarm }] = await Promise.all([
    import('./demo/run.ts'),
    import('./demo/output.ts'),
    import('./farm/farm.ts'),
  ]);
  const output = new DemoOutput();
  let begun: Parameters<typeof abandonFarm>[0] | null = null;
  const signal = interruptSignal({
    onFirst: () => output.title('Interrupted. Stopping everything; press Ctrl-C again to stop at once.'),
    abandon: async () => void (begun && (await abandonFarm(begun, options))),
    onError: ({ message }) => output.error(message),
  });

  try {
    const good = await runDemo({
      options,
      output,
      signal,
      onBegin: (parts) => {
        begun = parts;
      },
    });
    return signal.aborted ? EXIT.interrupted : good ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    output.error((error as Error).message);
    return EXIT.failed;
  }
}
