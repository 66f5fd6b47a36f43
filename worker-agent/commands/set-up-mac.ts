/**
 * Offers to make the settings of this Mac that doctor misses, and makes them with sudo.
 *
 * Invariant: nothing changes before a person at the terminal, or an option, has said yes to the commands.
 */
import { loadConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';
import { HOST_CHECKS } from '../health-checks/check-up.ts';
import type { HostContext } from '../health-checks/host-context.ts';
import { type CheckResult, runChecks } from '../health-checks/run-checks.ts';
import { commandOf } from '../mac/installation.ts';
import { isMacCommand, type Mac } from '../mac/programs.ts';
import { createTart } from '../tart/tart.ts';

/** The commands that cure a finding of doctor, by its code. */
const CURES: Record<string, readonly string[]> = {
  host_sleep: ['never-sleep'],
  power_loss: ['start-after-power-loss'],
  dhcp_lease: ['short-leases'],
  local_network: ['allow-ethernet', 'allow-wifi'],
};
/** A person may have to type a password. */
const COMMAND_LIMIT_MS = 300_000;

export interface SetUpOptions {
  mac: Mac;
  configPath: string;
  /** The choice by an option. Undefined: ask, if there is a terminal. */
  wanted: boolean | undefined;
  /** Null without a terminal. */
  ask: ((question: string) => Promise<boolean>) | null;
  write: (text: string) => void;
  signal: AbortSignal;
}

/** Asks on the terminal. Ctrl-C means no. */
export async function askOnTerminal(question: string): Promise<boolean> {
  const { confirm } = await import('@inquirer/prompts'); // most commands ask nothing, and it takes long to load
  return await confirm({ message: question, default: false }).catch((error) => {
    if ((error as Error).name === 'ExitPromptError') return false;
    throw error;
  });
}

/** Rejects with CommandError if a command fails; those before it have been run. */
export async function setUpMac({ mac, configPath, wanted, ask, write, signal }: SetUpOptions): Promise<void> {
  if (wanted === false) return;
  const config = await loadConfig(configPath);
  const context: HostContext = { configPath, config, tart: () => createTart(config), mac };
  const curable = HOST_CHECKS.filter(({ id }) => id in CURES).map((check) => ({ ...check, dependsOn: [] }));
  const findings = (await runChecks(curable, context, { signal })).filter((result) => commandsFor(result).length > 0);
  if (findings.length === 0) return;
  write('\nThese settings of this Mac harm builds, and these commands correct them:\n');
  for (const finding of findings) {
    write(`  ${finding.title}: ${finding.detail}\n`);
    for (const command of commandsFor(finding)) write(`    ${command}\n`);
  }
  if (!(wanted ?? (await ask?.('Run these commands now?')) ?? false)) {
    const install = mac.uid === 0 ? 'sudo expo-worker install' : 'expo-worker install --launch-agent';
    write(`Nothing was changed. \`${install} --set-up-mac\` runs them.\n`);
    return;
  }
  for (const command of findings.flatMap(commandsFor)) {
    const { exitCode, stderr } = await runWithSudo(mac, command, signal);
    if (exitCode !== 0)
      throw new CommandError(
        `The agent is installed, but \`${command}\` failed (${exitCode ?? 'no answer'}): ${stderr.trim() || 'it printed nothing'}. Run it by hand.`,
      );
  }
  write('Done.');
  write(findings.some(({ id }) => id === 'local_network') ? ' Restart the Mac, so that all of them count.\n' : '\n');
}

/** The commands of the table that the finding's own advice names. */
const commandsFor = ({ id, fix }: CheckResult): string[] =>
  (CURES[id] ?? []).map(commandOf).filter((command) => fix?.includes(command));

/** Runs a command of the table of the form `sudo PROGRAM WORDS`, whose words contain no spaces. */
async function runWithSudo(mac: Mac, command: string, signal: AbortSignal) {
  const [sudo, program = '', ...words] = command.split(' ');
  if (sudo !== 'sudo' || !isMacCommand(program)) throw new Error(`not a command of macOS: ${command}`);
  return await mac.run('sudo', [mac.pathOf(program), ...words], signal, COMMAND_LIMIT_MS);
}
