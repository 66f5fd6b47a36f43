/** Has what the tests of provisioning share: a step alone, the agent's key, and what is found in the VM. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import { testWith } from '../../set-up/test-with.ts';
import { isTestedInDetail, SHELLS, type Shell } from '../factories/guest-script.ts';
import { PUBLIC_KEY, STEPS, type StandInMac } from '../factories/stand-in-mac.ts';

type Declare = (sentence: string, check: () => Promise<void>, timeout?: number) => void;

/** Declares tests for each shell: those in detail under dash only when all shells are asked for. */
export function inShells(declareAll: (given: { shell: Shell; holds: Declare; inDetail: Declare }) => void): void {
  for (const shell of SHELLS) {
    const declare = testWith(shell);
    const holds: Declare = (sentence, check, timeout) => declare(`${shell}: ${sentence}`, { timeout }, check);
    declareAll({ shell, holds, inDetail: isTestedInDetail(shell) ? holds : () => {} });
  }
}

export const KEY_BODY = PUBLIC_KEY.split(' ')[1]!;
export const nameOf = (step: string) => step.slice(3, -3);
export const NAMES = STEPS.map(nameOf);

/** Runs one step alone, as a person would, and returns the word before the colon and the text after it. */
export async function step(mac: StandInMac, name: string, args: string[] = [], user: 'admin' | 'root' = 'root') {
  const file = STEPS.find((candidate) => nameOf(candidate) === name)!;
  const outcome = await mac.guest(`provision/${file}`, args, { user });
  const [, word, detail] = /^([a-z]+): (.*)$/m.exec(outcome.stdout) ?? [];
  return { ...outcome, word, detail };
}

export const keyFile = (mac: StandInMac, text = `${PUBLIC_KEY}\n`) => mac.file('agent.pub', text);
export const authorizedKeys = (mac: StandInMac) => join(mac.home, '.ssh/authorized_keys');
export const { version } = ownScripts();
/** The versions that an agent would find. */
export const guestScripts = (mac: StandInMac) =>
  readdirSync(join(mac.home, '.tartbeat/guest')).filter((name) =>
    existsSync(join(mac.home, '.tartbeat/guest', name, 'table')),
  );
export const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
