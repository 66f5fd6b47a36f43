/**
 * From the last lines of a failed build to one sentence that says why, and one that says what to do. Pure.
 * Invariant: says nothing rather than something wrong: an error that a later success has outlived does not count, nor
 * does one that a line only quotes.
 */
import { peel } from '../prefixes.ts';
import { ANDROID } from './android.ts';
import { COCOAPODS } from './cocoapods.ts';
import { EXPO } from './expo.ts';
import type { KnownError } from './known-error.ts';
import { MACHINE } from './machine.ts';
import { NETWORK } from './network.ts';
import { PACKAGES } from './packages.ts';
import { SIGNING } from './signing.ts';
import { XCODE } from './xcode.ts';

/** Causes before their consequences: a full disk fails the compiler too. The first that matches is the answer. */
export const KNOWN_ERRORS: readonly KnownError[] = [
  ...MACHINE,
  ...SIGNING,
  ...COCOAPODS,
  ...PACKAGES,
  ...EXPO,
  ...ANDROID,
  ...NETWORK,
  ...XCODE,
];

export interface Explanation {
  id: string;
  sentence: string;
  advice: string;
  /** The line of the log that tells. */
  line: string;
}

const LINES_MAX = 400;
const LINE_CHARS_MAX = 2_048;
const SHOWN_CHARS_MAX = 500;
const CAPTURE_CHARS_MAX = 200;

/** What comes before one of these did not fail the build. */
const SUCCESS =
  /^(?:▸ |› )?(?:\*\* (?:BUILD|ARCHIVE|TEST|EXPORT|TEST BUILD) SUCCEEDED \*\*|(?:Archive|Build|Export|Test) Succeeded\b|BUILD SUCCESSFUL in |Build successful\b|Pod installation complete!|Successfully exported and signed the |fastlane\.tools finished successfully|Exported: |added \d+ packages\b)/;
/** Not an error of this build: commands as the shell traces them, warnings, comments. */
const NOT_AN_ERROR = /^(?:\++ |\$ |# |(?:\S+: )?(?:warning|note|hint): |npm (?:warn|WARN|notice) |export \w+=|echo )/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is removed
const COLOURS = /\x1b\[[0-9;?]*[ -/]*[@-~]/g;
/** Not the mark of a warning, which makes the line none of ours. */
const FORMATTER = /^(?:▸\s+|❌\s+|✖\s+|›\s+(?=Error:))/;

/** Null if nothing is known of it. `lastLines` are the last of the log, oldest first; some hundred are enough. */
export function explainFailure(lastLines: readonly string[]): Explanation | null {
  const lines = lastLines.slice(-LINES_MAX).map(bare);
  const after = lines.slice(lines.findLastIndex((line) => SUCCESS.test(line)) + 1);
  const candidates = after.filter((line) => line !== '' && !NOT_AN_ERROR.test(line)).reverse();
  for (const known of KNOWN_ERRORS) {
    for (const line of candidates) {
      const match = known.pattern.exec(line);
      if (match && !isQuoted(line, match)) return explain(known, match, line);
    }
  }
  return null;
}

/** Without colours, phase, time and the mark of a formatter; a redrawn line as it was last drawn. */
function bare(raw: string): string {
  const line = raw.slice(0, LINE_CHARS_MAX).replace(COLOURS, '').trimEnd();
  const drawn = line.slice(line.lastIndexOf('\r') + 1);
  return peel(drawn).text.trimStart().replace(FORMATTER, '');
}

/**
 * A message in quotation marks is spoken of, not given. What the pattern itself quotes does not count, nor an apostrophe
 * further back in the line.
 */
function isQuoted(line: string, match: RegExpExecArray): boolean {
  const before = line.slice(0, match.index);
  const isOpen = (mark: string) => (before.split(mark).length - 1) % 2 === 1;
  // Ruby opens with a backtick and closes with an apostrophe.
  const inBackticks = isOpen('`') && before.lastIndexOf('`') > before.lastIndexOf("'");
  return isOpen('"') || inBackticks || (before.endsWith("'") && isOpen("'"));
}

function explain(known: KnownError, match: RegExpExecArray, line: string): Explanation {
  const fill = (text: string) =>
    text
      .replace(/\$(\d)/g, (_, index: string) => (match[Number(index)] ?? '').slice(0, CAPTURE_CHARS_MAX))
      .replace(/ {2,}/g, ' ')
      .trim();
  return {
    id: known.id,
    sentence: fill(known.sentence),
    advice: fill(known.advice),
    line: line.trim().slice(0, SHOWN_CHARS_MAX),
  };
}
