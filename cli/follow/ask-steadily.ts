/**
 * Asks the controller until it answers.
 *
 * Invariant: only a refusal or a long time without any answer ends the asking.
 */
import type { Answer, Refused } from '../../client/answer.ts';
import { jittered, pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { CommandError } from '../command-error.ts';
import { EXIT } from '../exit-codes.ts';
import type { Contact } from './contact.ts';

export interface SteadyOptions {
  contact: Contact;
  pollMs: number;
  giveUpAfterMs: number;
  signal: AbortSignal;
  /** The subject of the question, such as `Build b_1`. */
  what: string;
  /** The command that asks again later. */
  comeBack: string;
}

/** Rejects with CommandError, or with the signal's reason. */
export async function askSteadily<T>(ask: () => Promise<Answer<T>>, options: SteadyOptions): Promise<T> {
  const { contact, pollMs, giveUpAfterMs, signal } = options;
  for (;;) {
    const askedAtMs = awakeMs();
    const answer = await ask();
    if (answer.ok || answer.kind === 'refused' || answer.retryAfterMs !== undefined) contact.heard();
    else contact.lost(answer.message, askedAtMs);
    if (answer.ok) return answer.value;
    if (answer.kind === 'refused') throw refused(answer, options);
    if (contact.silentMs > giveUpAfterMs) throw away(answer.message, contact.silentMs, options);
    await pause(jittered(Math.max(pollMs, answer.retryAfterMs ?? 0)), signal);
  }
}

function refused({ status, message }: Refused, { what, comeBack }: SteadyOptions): CommandError {
  if (status === 401)
    return new CommandError(
      `${what} cannot be followed any more, because the controller does not accept the key: ${message}. If it was revoked, its unfinished builds are being cancelled. Run \`expo-build login\` with another key, then \`${comeBack}\`.`,
    );
  return new CommandError(`${what} cannot be followed: ${message}.`);
}

const away = (message: string, silentMs: number, { what, comeBack }: SteadyOptions): CommandError =>
  new CommandError(
    `The controller was not reached for ${Math.round(silentMs / 60_000)} min (${message}). ${what} goes on without this command. \`${comeBack}\` takes it up again.`,
    EXIT.unreachable,
  );
