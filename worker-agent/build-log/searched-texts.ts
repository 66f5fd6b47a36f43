/**
 * Makes the list of texts by which a VM finds the files that hold a secret of its build. Pure.
 *
 * Invariant: each line is a text that nobody writes by chance. An empty line would match every file.
 */
import { SECRET_MIN_BYTES } from './mask.ts';

/** Every certificate and key has these lines. */
const ARMOUR = /^-----(BEGIN|END) .*-----$/;
/** A text with one of these cannot be a line for grep. */
const NO_LINE = /[\0\n\r]/;

/** One text a line, for `grep -F -f`. A secret that cannot be a line is searched for in base64 alone. */
export function searchedTexts(needles: readonly Buffer[]): Buffer {
  const lines = needles.map((needle) => needle.toString('latin1'));
  const told = lines.filter(
    (line) => !NO_LINE.test(line) && !ARMOUR.test(line.trim()) && line.trim().length >= SECRET_MIN_BYTES,
  );
  return Buffer.from(told.map((line) => `${line}\n`).join(''), 'latin1');
}
