/**
 * Finds the phase in which Expo's build engine failed, and the lines of that phase. Pure.
 *
 * The last sentence of the engine can name a wrong phase: after a failed phase it still runs the hooks for
 * errors, and these can fail too. So this takes the first phase in which the engine itself reports an error
 * and after which it only cleans up.
 *
 * Invariant: without such a report of the engine it returns null. The line of a tool is never such a report.
 */
import { FAILED_BUILD_PHASES } from '../phases.ts';
import { type RawLine, rawForm } from '../prefixes.ts';

export interface FailedPhase {
  /** `INSTALL_PODS`, or the name of the step of a custom build. */
  name: string;
  /** The lines of the phase, and the cause that the engine prints below `Build failed`. */
  lines: readonly string[];
  /** The engine's words for the error. They may only say that a tool ended with an exit code. */
  reason: string;
  /** The line in which the engine reports it. */
  line: string;
}

/** Most logs are not from the engine, and are not read any further. */
const PHASE = /\[[A-Z][^\]]{0,63}\] /;
/** The engine prints an error of an unknown kind below an empty line of the phase. */
const THROWN = /^(?:\w*Error|\w*Exception)\b(?: \[\w+\])?: ?(.*)$/;
/** The engine prints errors of known kinds in the phase itself. */
const REPORTED = /^Error: (.+)$/;
/** A step of a custom build has a name of its own, and its error is printed twice. */
const STEP = /^\[([^\]]{1,64})\] (.+)$/;
const ENDED = /^Build failed$/;
const STACK = /^(?:at |\.\.\.$|\w+: )/;
/** The engine reports these with a sentence of its own. The cause that it prints at the end says more. */
const SAYS_NOTHING = /^(?:The "Run fastlane" step failed|Gradle build failed) with (?:an )?unknown error/;

/** The lines from one change of the phase to the next. */
interface Part {
  phase: string | null;
  from: number;
  to: number;
}

export function failedPhase(lines: readonly string[]): FailedPhase | null {
  if (!lines.some((line) => PHASE.test(line))) return null;
  const raw = lines.map(rawForm);
  return failedStep(lines, raw) ?? failedBuiltInPhase(lines, raw);
}

function failedBuiltInPhase(lines: readonly string[], raw: readonly RawLine[]): FailedPhase | null {
  const ended = raw.findIndex(isEnd);
  const end = ended < 0 ? raw.length : ended;
  const parts = partsOf(raw, end);
  for (const [index, { phase, from, to }] of parts.entries()) {
    if (phase === null || !onlyCleansUp(parts, index, ended >= 0)) continue;
    const report = reportIn(raw, from, to);
    if (!report) continue;
    const own = parts.slice(0, index + 1).filter((part) => part.phase === phase);
    const others = parts.slice(index + 1).filter((part) => part.phase !== phase && reportIn(raw, part.from, part.to));
    // With two failed phases, the engine gives the cause of the wrong one.
    const cause = others.length === 0 ? causeBelow(raw, end) : [];
    const reason = SAYS_NOTHING.test(report.reason) ? (cause[0] ?? report.reason) : report.reason;
    return {
      name: phase,
      lines: [...own.flatMap((part) => lines.slice(part.from, part.to)), ...cause],
      reason: THROWN.exec(reason)?.[1] || reason,
      line: report.line,
    };
  }
  return null;
}

/** Lines without a phase belong to the phase before them. */
function partsOf(raw: readonly RawLine[], end: number): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < end; at++) {
    const phase = raw[at]!.easPhase;
    const last = parts.at(-1);
    if (last && (phase === null || phase === last.phase)) last.to = at + 1;
    else parts.push({ phase, from: at, to: at + 1 });
  }
  return parts;
}

const isEnd = ({ easPhase, indented, text }: RawLine): boolean => easPhase === null && !indented && ENDED.test(text);

/** True if after this part the engine has run only the phases that follow a failure. */
function onlyCleansUp(parts: readonly Part[], index: number, ended: boolean): boolean {
  const { phase } = parts[index]!;
  // The engine also removes credentials after a success.
  const next = parts.slice(index + 1, index + 3).find((part) => part.phase !== 'CLEAN_UP_CREDENTIALS');
  if (next) return next.phase !== phase && next.phase !== null && FAILED_BUILD_PHASES.has(next.phase);
  return ended;
}

/** The last report counts, because a tool may print a line of the same form before it. */
function reportIn(raw: readonly RawLine[], from: number, to: number): { reason: string; line: string } | null {
  for (let at = to - 1; at >= from; at--) {
    const { easPhase, text, printed } = raw[at]!;
    if (easPhase === null) continue;
    const below = raw[at + 1];
    if (text === '' && below?.easPhase === null && at + 1 < to && THROWN.test(below.text))
      return { reason: THROWN.exec(below.text)![1]!, line: below.printed };
    const reported = REPORTED.exec(text);
    if (reported) return { reason: reported[1]!, line: printed };
  }
  return null;
}

/** The lines that the engine prints between `Build failed` and the stack. */
function causeBelow(raw: readonly RawLine[], end: number): string[] {
  const below = raw.slice(end + 1, end + 20);
  const stack = below.findIndex(({ text }) => STACK.test(text) && !THROWN.test(text));
  return below
    .slice(0, stack < 0 ? 1 : stack)
    .filter(({ text }) => text !== '' && text !== 'undefined')
    .map(({ printed }) => printed);
}

/** A failed step of a custom build is certain: the engine prints its error in the step and again below. */
function failedStep(lines: readonly string[], raw: readonly RawLine[]): FailedPhase | null {
  for (const [at, { easPhase, text, printed }] of raw.entries()) {
    const below = raw[at + 1];
    if (below?.easPhase !== null || text === '') continue;
    const [, name, reason] = STEP.exec(easPhase === null ? printed : lines[at]!) ?? [];
    if (!name || !reason || name === easPhase || THROWN.exec(below.text)?.[1] !== reason) continue;
    const prefix = `[${name}] `;
    const own = lines.slice(0, at + 1).flatMap((line) => (line.startsWith(prefix) ? [line.slice(prefix.length)] : []));
    return { name, lines: [...own, below.printed], reason, line: reason };
  }
  return null;
}
