/**
 * Finds Tartbeat's own lines outside the failed phase that tell more about the reason: which secrets were
 * missing before an install, and why codesign cannot sign. Pure.
 *
 * The lines come from client/project/private-access.ts and vm-image/guest/security.sh.
 */
import { rawForm } from '../prefixes.ts';

const UNSIGNED = /^\[tartbeat\] codesign cannot sign with \w+: (\S.*)$/;
const SAID = /^\[tartbeat\] Private access: (\S.*)$/;
/** An advice may have 1,000 characters, and a sentence about one host has up to 300. */
const SENTENCES_MAX = 2;
const SENTENCE_CHARS_MAX = 330;

export function missingAccess(lines: readonly string[]): string[] {
  const said = new Set<string>();
  for (const line of lines) {
    if (!line.includes('Private access: ')) continue;
    const sentence = SAID.exec(rawForm(line).text)?.[1];
    if (sentence) said.add(sentence.slice(0, SENTENCE_CHARS_MAX));
  }
  const all = [...said];
  const more = all.length - SENTENCES_MAX;
  return more > 0 ? [...all.slice(0, SENTENCES_MAX), `The log names ${more} more.`] : all;
}

/** The words of codesign about the identity of the build, or null. */
export function codesignWords(lines: readonly string[]): string | null {
  const line = lines.findLast((one) => one.includes('codesign cannot sign with '));
  const words = line === undefined ? undefined : UNSIGNED.exec(rawForm(line).text)?.[1];
  return words?.slice(0, SENTENCE_CHARS_MAX) ?? null;
}
