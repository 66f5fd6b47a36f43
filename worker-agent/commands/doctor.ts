/** `expo-worker doctor`: prints the checks as a table, each finding with its fix. */
import { styleText } from 'node:util';
import { Command } from 'commander';
import { printable } from '../../client/printable.ts';
import { defaultConfigPath, expandHome, loadConfig } from '../config.ts';
import { EXIT } from '../exit-codes.ts';
import { runDoctor } from '../health-checks/check-up.ts';
import { isTelling, postFindings } from '../health-checks/findings.ts';
import type { CheckResult, CheckStatus } from '../health-checks/run-checks.ts';
import { imageNamed } from '../images/base-image-task.ts';
import { examinedIn } from '../images/images.ts';

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const MARKS: Record<CheckStatus, { mark: string; color: 'green' | 'yellow' | 'red' | 'gray' }> = {
  pass: { mark: '✓', color: 'green' },
  warn: { mark: '!', color: 'yellow' },
  fail: { mark: '✗', color: 'red' },
  skipped: { mark: '-', color: 'gray' },
};

interface DoctorCommandOptions {
  config: string;
  json?: boolean;
  vm: boolean;
  pinHostKey?: boolean;
  image?: string;
}

export function doctorCommand(exitWith: (exitCode: number) => void): Command {
  return new Command('doctor')
    .description('check this Mac, its base image and its way to the controller, and say how to repair what is wrong')
    .option('--config <path>', 'config file', defaultConfigPath())
    .option('--json', 'print one JSON document: {ok, checks: [{id, title, blocking, status, detail, fix, durationMs}]}')
    .option('--no-vm', 'leave out the checks that boot a clone of each image')
    .option('--image <name>', 'of several images of this Mac, look at this one alone')
    .option('--pin-host-key', 'write down the host key that a clone of each image shows, and trust no other')
    .addHelpText('after', '\nExit code: 0 this Mac can build, 1 a blocking check failed, 130 interrupted.')
    .action(async (options: DoctorCommandOptions) => exitWith(await doctor(options)));
}

async function doctor({ config, json, vm, image, pinHostKey = false }: DoctorCommandOptions): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => {
    if (!stop.signal.aborted) process.stderr.write('\nStopping. The VM, if there is one, is deleted first…\n');
    stop.abort();
  };
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  try {
    const configPath = expandHome(config);
    const known = await loadConfig(configPath).catch(() => null); // doctor's first finding names the fault
    if (known) imageNamed(known.images, image);
    const report = await runDoctor({
      configPath,
      vm,
      imagesOf: examinedIn(configPath, image),
      pinHostKey,
      signal: stop.signal,
      onResult: (result) => json || process.stdout.write(line(result)),
      onStep: ({ step, status, durationMs }) => {
        if (!json && process.stdout.isTTY && status === 'done')
          process.stdout.write(styleText('gray', `    ${step} ${(durationMs / 1000).toFixed(1)} s\n`));
      },
    });
    process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : summary(report.checks));
    // A report ends quarantine. Without a VM of each image, doctor has not seen whether builds would run.
    const whole = vm && (image === undefined || known?.images.length === 1);
    const notTold = !known
      ? 'there is no usable config.'
      : !whole
        ? 'this was not the whole examination. Run `expo-worker doctor` to end a quarantine.'
        : isTelling(report.checks)
          ? null
          : 'no clone was examined, so nobody knows whether builds would run.';
    const told = notTold === null ? await postFindings(configPath, report.checks) : null;
    if (!json) process.stdout.write(`${ending(told, notTold)}\n`);
    return report.ok ? EXIT.ok : EXIT.failure;
  } catch (error) {
    if (stop.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    for (const name of STOP_SIGNALS) process.off(name, onSignal);
  }
}

function line({ id, status, title, detail, fix }: CheckResult): string {
  const { mark, color } = MARKS[status];
  const first = `${styleText(color, mark)} ${title.padEnd(44)} ${printable(detail)}\n`;
  return fix ? `${first}    ${styleText('bold', 'Fix:')} ${printable(fix)} ${styleText('gray', `[${id}]`)}\n` : first;
}

function ending(told: Awaited<ReturnType<typeof postFindings>> | null, notTold: string | null): string {
  if (!told) return `The controller was not told, because ${notTold}`;
  if ('state' in told) return `The controller shows this worker as ${told.state}.`;
  return `The controller was not told: ${printable(told.message)}`;
}

function summary(checks: CheckResult[]): string {
  const count = (wanted: CheckStatus) => checks.filter(({ status }) => status === wanted).length;
  const parts = (['pass', 'warn', 'fail', 'skipped'] as const).map((status) => [count(status), status] as const);
  const words = { pass: 'passed', warn: 'to look at', fail: 'failed', skipped: 'skipped' };
  return `\n${parts
    .filter(([number]) => number > 0)
    .map(([number, status]) => `${number} ${words[status]}`)
    .join(', ')}. What each [code] means: docs/doctor.md\n`;
}
