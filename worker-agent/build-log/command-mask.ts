/**
 * Takes the secrets of a build out of the commands of its processes. Pure.
 *
 * `ps` of macOS shows a byte that is not a printable character of ASCII in another form (`ä` as `M-CM-$`), so
 * a secret with such a byte would not be found in its arguments.
 *
 * Invariant: if a secret may look different in a command, only the name of the program is told.
 */
import { linesOf, maskText, needlesOf, SECRET_MIN_BYTES, type Secrets, secretTextsOf } from './mask.ts';

/** The printable characters of ASCII without the backslash, with which the other forms may begin. */
const SHOWN_AS_IT_IS = /^[ -[\]-~]*$/;

export function commandMaskOf(secrets: Secrets): (command: string) => string {
  const needles = needlesOf(secrets);
  const plain = secretTextsOf(secrets).every(isShownAsItIs);
  return (command) => maskText(needles, plain ? command : command.split(' ', 1)[0]!);
}

/** An argument cannot have a byte 0, so the content of a binary file is in none. */
const isShownAsItIs = (secret: Buffer): boolean =>
  secret.includes(0) ||
  linesOf(secret).every((line) => line.length < SECRET_MIN_BYTES || SHOWN_AS_IT_IS.test(line.toString('latin1')));
