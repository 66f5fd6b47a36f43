/**
 * Handles Ctrl-C and SIGTERM while builds are followed.
 *
 * Invariant: at a terminal, the first one never ends a build. Without a person there, it ends the builds,
 * because somebody who cancels a CI job does not want its builds any more.
 */
import { createInterface } from 'node:readline/promises';
import { within } from '../../client/retry.ts';
import type { Interrupt, Interrupts } from '../interrupts.ts';
import { hasPerson } from './views/who-looks.ts';

/** A second Ctrl-C within this time asks whether to cancel. */
const SECOND_MS = 2_000;
const ANSWER_MS = 60_000;

/** Receives the interrupts, one after the other, until it is disposed of. */
export class Interruptions implements Disposable {
  readonly #taken: Disposable;
  readonly #waiting: ((name: Interrupt) => void)[] = [];

  constructor(interrupts: Interrupts) {
    this.#taken = interrupts.take((name) => {
      for (const resolve of this.#waiting.splice(0)) resolve(name);
    });
  }

  next(): Promise<Interrupt> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  [Symbol.dispose](): void {
    this.#taken[Symbol.dispose]();
  }
}

const say = (text: string) => void process.stderr.write(text);

/** Says how to come back. Resolves with true if the person then wants to cancel the builds. */
export async function leave(buildIds: readonly string[], interruptions: Interruptions): Promise<boolean> {
  say(`\n${howToComeBack(buildIds)}\n`);
  if (!process.stdin.isTTY || !hasPerson()) return false;
  say(`Press Ctrl-C again now to cancel ${itOrThem(buildIds)}.\n`);
  if (!(await within(interruptions.next(), SECOND_MS))) return false;
  const isSure = await saysYes(`Cancel ${buildIds.join(' and ')}? (y/N) `, interruptions);
  if (!isSure) say(`\n${goesOn(buildIds)}.\n`);
  return isSure;
}

const goesOn = ({ length }: readonly string[]) => (length > 1 ? 'The builds go on' : 'The build goes on');

export const howToComeBack = (buildIds: readonly string[]): string =>
  `${goesOn(buildIds)}. Come back with \`expo-build watch ${buildIds.join(' ')}\`.`;

export const howToCancel = (buildIds: readonly string[]): string =>
  `\`expo-build cancel ${buildIds.join(' ')}\` ends ${itOrThem(buildIds)}.`;

const itOrThem = ({ length }: readonly string[]) => (length > 1 ? 'them' : 'it');

async function saysYes(question: string, interruptions: Interruptions): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const over = new AbortController();
  try {
    const asked = lines.question(question, { signal: over.signal }).catch(() => '');
    const answer = await within(Promise.race([asked, interruptions.next().then(() => '')]), ANSWER_MS);
    return /^y(es)?$/i.test((answer ?? '').trim());
  } finally {
    over.abort();
    lines.close();
    process.stdin.pause();
  }
}
