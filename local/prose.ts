/**
 * Limits the length of lines of prose. `npm run check:prose` fails for a longer line in a document or a
 * comment. `wrapped` breaks the lines of documents that a script writes.
 *
 * The check skips tables, code, addresses, the licence, recordings, and the files that other tools generate.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Characters. */
const LONGEST = 110;
const LEFT_OUT =
  /^(LICENSE|package-lock\.json|worker-configuration\.d\.ts|migrations\/|test\/samples\/|test\/fixtures\/|local\/sample-project\/)/;
const COMMENT = /^\s*(\/\/|\/?\*\*?|#(?!!))\s/;

/** A command on a line of its own, between backticks. */
const COMMAND = /^`[^`]+`\.?$/;

/** The lines of a document that are prose: no table, no command, no block of code, no recording. */
function* proseOf(text: string): Generator<[number, string]> {
  let fence = false;
  let recording = false;
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*```/.test(line)) fence = !fence;
    if (/<!-- \/?recording -->/.test(line)) recording = !line.includes('/recording');
    if (!fence && !recording && !/^\s*\|/.test(line) && !COMMAND.test(line)) yield [index + 1, line];
  }
}

function* commentsOf(text: string): Generator<[number, string]> {
  for (const [index, line] of text.split('\n').entries()) if (COMMENT.test(line)) yield [index + 1, line];
}

/** Breaks the paragraph into short lines. Spans of code stay whole. A list item continues below its text. */
export function wrapped(paragraph: string): string {
  const indent = paragraph.startsWith('- ') ? '  ' : '';
  const lines: string[] = [];
  for (const word of paragraph.match(/(?:`[^`]*`|\S)+/g) ?? []) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length === 0) lines.push(word);
    else if ([...longer].length <= LONGEST) lines[lines.length - 1] = longer;
    else lines.push(`${indent}${word}`);
  }
  return lines.join('\n');
}

if (import.meta.main) {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' }).split('\n');
  const tooLong: string[] = [];
  for (const file of files.filter((name) => name && !LEFT_OUT.test(name))) {
    const text = readFileSync(file, 'utf8');
    if (text.includes('\0')) continue;
    const lines = file.endsWith('.md') ? proseOf(text) : file.endsWith('.json') ? [] : commentsOf(text);
    for (const [number, line] of lines)
      if ([...line].length > LONGEST && !/https?:\/\/\S{60,}/.test(line))
        tooLong.push(`${file}:${number}: ${[...line].length}`);
  }
  if (tooLong.length > 0) {
    console.error(`Lines of prose above ${LONGEST} characters:\n${tooLong.join('\n')}`);
    process.exitCode = 1;
  } else console.log(`prose: no line above ${LONGEST} characters`);
}
