/** Asks macOS's own commands on behalf of a check, and skips the check on another system. */
import type { Mac, MacAnswer, MacCommand } from '../mac/programs.ts';
import type { HostContext } from './host-context.ts';
import type { CheckOutcome, HealthCheck } from './run-checks.ts';

type Run = (mac: Mac, context: HostContext, signal: AbortSignal) => Promise<CheckOutcome>;

export const onMac = (run: Run): HealthCheck<HostContext>['run'] => {
  return async (context, signal) =>
    context.mac.platform === 'darwin'
      ? await run(context.mac, context, signal)
      : { status: 'skipped', detail: 'only macOS has this' };
};

/**
 * The output of the command. If the command failed, throws an error of one line, which becomes the finding.
 */
export async function answerOf(mac: Mac, command: MacCommand, args: string[], signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr }: MacAnswer = await mac.run(command, args, signal);
  if (exitCode !== 0) throw new Error(`${command} failed (${exitCode ?? 'no answer'}): ${lastLineOf(stderr)}`);
  return stdout;
}

/** A setting as `defaults` prints it; null if it is not set. */
export async function settingOf(mac: Mac, domain: string, name: string, signal: AbortSignal): Promise<string | null> {
  const { exitCode, stdout } = await mac.run('defaults', ['read', domain, name], signal);
  return exitCode === 0 ? stdout.trim() : null;
}

export const macosVersion = async (mac: Mac, signal: AbortSignal): Promise<string> =>
  (await answerOf(mac, 'sw_vers', ['-productVersion'], signal)).trim();

export const majorOf = (version: string): number => Number(version.split('.')[0]);

export const lastLineOf = (text: string): string => text.trim().split('\n').at(-1) ?? '';
