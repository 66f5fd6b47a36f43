/**
 * Repeats what Tartbeat has said before an install about secrets that are missing. Pure.
 *
 * The guest scripts print these lines from client/project/private-access.ts.
 */
import { rawForm } from '../prefixes.ts';

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
