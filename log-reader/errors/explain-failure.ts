/**
 * Explains why a build failed, from the last lines of its log: one sentence says why, one says what to do.
 * Pure.
 *
 * If Expo's build engine reports which of its phases failed, only the lines of that phase count, and the
 * sentence names it. Its last sentence can name a wrong one (failed-phase.ts).
 *
 * Invariant: if it is uncertain, it returns null. It ignores an error before a later success, and an error
 * that a line only quotes.
 */
import { chooseFirstCause } from './compiler-errors.ts';
import { type FailedPhase, failedPhase } from './failed-phase.ts';
import { type FailingLine, failingLines } from './failing-lines.ts';
import { ANDROID } from './known/android.ts';
import { COCOAPODS } from './known/cocoapods.ts';
import { ENGINE, ENGINE_GENERAL } from './known/engine.ts';
import { EXPO } from './known/expo.ts';
import { GENERAL } from './known/general.ts';
import type { KnownError } from './known/known-error.ts';
import { MACHINE } from './known/machine.ts';
import { NETWORK } from './known/network.ts';
import { OTHER_MACHINE } from './known/other-machine.ts';
import { PACKAGES } from './known/packages.ts';
import { QUESTIONS } from './known/prompts.ts';
import { SIGNING } from './known/signing.ts';
import { TARTBEAT } from './known/tartbeat.ts';
import { XCODE } from './known/xcode.ts';
import { isConsequence } from './line-kinds.ts';
import { readAround } from './lines-around.ts';
import { codesignWords, missingAccess } from './said-by-tartbeat.ts';
import { type Captured, fill } from './sentences.ts';

/**
 * The first error that matches is the answer. Causes come before their consequences: a full disk, for
 * example, also makes the compiler fail.
 */
export const KNOWN_ERRORS: readonly KnownError[] = [
  ...MACHINE,
  ...OTHER_MACHINE,
  ...TARTBEAT,
  ...SIGNING,
  ...ENGINE,
  ...COCOAPODS,
  ...PACKAGES,
  ...EXPO,
  ...ANDROID,
  ...NETWORK,
  ...QUESTIONS,
  ...XCODE,
  ...GENERAL,
  ...ENGINE_GENERAL,
];

export interface Explanation {
  id: string;
  sentence: string;
  advice: string;
  /** The line of the log that shows the error. */
  line: string;
}

const LINES_MAX = 400;
/**
 * After a failed compilation the first error may be further up, because the compilers that run at the same
 * time still print much before they end.
 */
const COMPILER_LINES_MAX = 4_000;
const SHOWN_CHARS_MAX = 500;
const CAUSE_CHARS_MAX = 300;
const FETCHING_PHASES = /^(?:INSTALL_DEPENDENCIES|INSTALL_PODS|PREBUILD|PRE_INSTALL_HOOK|Install .*)$/;
/** A build that stopped because of a line prints no more than this after it. */
const END_LINES = 8;

/** The engine asks macOS for the identities that it can sign with. */
const UNPROVED_CERTIFICATE = 'certificate_import';
/** The error of a phase of Expo's engine if nothing else is known of it. */
export const PHASE_FAILED = 'phase_failed';

/**
 * Returns null if the error is not a known one. `lastLines` are the last lines of the log, oldest first. A
 * few thousand are enough.
 */
export function explainFailure(lastLines: readonly string[]): Explanation | null {
  const phase = failedPhase(lastLines);
  const found = explainLines(phase?.lines ?? lastLines);
  const named = found && phase ? { ...found, sentence: `${namePhase(phase)} failed. ${found.sentence}` } : found;
  const explained = named ?? (phase && explainPhase(phase));
  return explained && withMore(explained, phase, lastLines);
}

const namePhase = ({ name }: FailedPhase): string =>
  /^[A-Z_]+$/.test(name) ? `The phase ${name}` : `The step "${name}"`;

const explainPhase = (phase: FailedPhase): Explanation => ({
  id: PHASE_FAILED,
  sentence: `${namePhase(phase)} of Expo's build engine failed: ${inShort(phase.reason).slice(0, CAUSE_CHARS_MAX)}.`,
  advice:
    'The lines of this phase in the log have the reason. The sentences below "Build failed" can name another phase.',
  line: phase.line.slice(0, SHOWN_CHARS_MAX),
});

/** Without the arguments of the program, because the engine passes passwords in them. */
const inShort = (reason: string): string =>
  reason
    .replace(/^(\S+(?: [a-z][\w-]*)?).* exited with non-zero code: (\d+)$/, '"$1" ended with exit code $2')
    .replace(/\.$/, '');

/**
 * Adds facts from outside the phase. A secret that was missing before an install is the likely reason why the
 * install failed.
 */
function withMore(explained: Explanation, phase: FailedPhase | null, lastLines: readonly string[]): Explanation {
  const fetches =
    explained.id === PHASE_FAILED
      ? FETCHING_PHASES.test(phase?.name ?? '')
      : KNOWN_ERRORS.find(({ id }) => id === explained.id)?.fetches;
  const words = explained.id === UNPROVED_CERTIFICATE ? codesignWords(lastLines) : null;
  if (words) return { ...explained, sentence: `${explained.sentence} codesign says: ${words}` };
  const missing = fetches ? missingAccess(lastLines) : [];
  return missing.length > 0 ? { ...explained, advice: `${missing.join(' ')} ${explained.advice}` } : explained;
}

function explainLines(lastLines: readonly string[]): Explanation | null {
  const lines = failingLines(lastLines.slice(-LINES_MAX));
  const compiled = lines.some(endsCompiling) ? failingLines(lastLines.slice(-COMPILER_LINES_MAX)) : lines;
  const first = chooseFirstCause(compiled);
  for (const known of KNOWN_ERRORS) {
    const found = known.compiler
      ? first !== null && match(known, compiled, first)
      : findLast(lines, (_, index) => match(known, lines, index));
    if (found) return explanation(known, found);
  }
  return null;
}

interface Found {
  captured: Captured;
  line: FailingLine;
}

function findLast<T>(lines: readonly FailingLine[], look: (line: FailingLine, index: number) => T | null): T | null {
  for (let index = lines.length - 1; index >= 0; index--) {
    const found = look(lines[index]!, index);
    if (found) return found;
  }
  return null;
}

function match(known: KnownError, lines: readonly FailingLine[], index: number): Found | null {
  const line = lines[index]!;
  if (!line.tells) return null;
  const matched = known.pattern.exec(line.text);
  if (!matched || isQuoted(line.text, matched)) return null;
  if (known.atEnd && !endsSoon(lines, index)) return null;
  const around = readAround(known.near ?? [], lines, index);
  return around && { line, captured: { numbered: matched, named: { ...matched.groups, ...around } } };
}

const endsCompiling = ({ text }: FailingLine): boolean =>
  /^\*\* (?:BUILD|ARCHIVE|TEST|ANALYZE) FAILED \*\*|^The following build commands failed|^BUILD FAILED in /.test(text);

/** True if only a few lines follow this one, or if one of the next lines is a consequence. */
function endsSoon(lines: readonly FailingLine[], index: number): boolean {
  const after = lines.slice(index + 1).filter(({ text }) => text !== '');
  const soon = after.slice(0, END_LINES);
  return after.length <= END_LINES || soon.some(({ text }) => isConsequence(text));
}

/**
 * True if the line only quotes the message. Quotation marks of the pattern itself do not count, nor does an
 * apostrophe earlier in the line.
 */
function isQuoted(line: string, match: RegExpExecArray): boolean {
  const before = line.slice(0, match.index);
  const isOpen = (mark: string) => (before.split(mark).length - 1) % 2 === 1;
  // Ruby opens with a backtick and closes with an apostrophe.
  const inBackticks = isOpen('`') && before.lastIndexOf('`') > before.lastIndexOf("'");
  return isOpen('"') || inBackticks || (before.endsWith("'") && isOpen("'"));
}

const explanation = (known: KnownError, { captured, line }: Found): Explanation => ({
  id: known.id,
  sentence: fill(known.sentence, captured),
  advice: fill(known.advice, captured),
  line: line.printed.slice(0, SHOWN_CHARS_MAX),
});
