/**
 * Collects the lines in which one step of a build reports its failure, and chooses those that most likely
 * show the reason. Pure.
 *
 * Invariant: its memory has a limit, however much the step prints.
 *
 * Three places are worth showing. The first block of errors, because the others often follow from it. The
 * lines just before a runner says that something failed. The first lines of some other blocks, in case the
 * first one is harmless.
 */
import { TELLING_LINE_MAX } from '#contract';
import type { RawLine } from '../prefixes.ts';
import { isCompilerError, rankOf } from './compiler-errors.ts';
import { BY_FORM, isNoise, type Strength, strengthOf } from './line-strength.ts';

const BLOCK_LINES_MAX = 5;
/** The number of blocks that it keeps of each strength, besides the last one. */
const BLOCKS_MAX = 4;
const EVE_LINES = 3;
const CONSEQUENCES_MAX = 5;
/** This many lines below an error belong to it, with any text. */
const BODY_LINES = 2;
/** The lines that show the reason are all below one of these. */
const HEADER = /^(?:\[!\] |\* What went wrong:|xcodebuild: error: |> Task )/;
const SUMMARY = /^\* What went wrong:/;
const FAILED_COMMANDS = /^The following build commands failed/;
/** From this rank on, a compiler error is in Apple's SDK, or another error has caused it. */
const FOLLOWS_RANK = 2;

export interface Told {
  /** Its place in the log. */
  at: number;
  text: string;
}

export interface FailureNotes {
  take(line: RawLine, at: number): void;
  /** True while xcodebuild lists the commands that failed. They look like any other command. */
  readonly listing: boolean;
  /** A line that reports a failure without its reason. */
  takeConsequence(line: RawLine, at: number): void;
  /** True if the next line begins a new block. */
  closeBlock(): void;
  /** In the order of the log. */
  choose(max: number): Told[];
}

export function createFailureNotes(linesMax: number): FailureNotes {
  const byForm = createBlocks();
  const byWords = createBlocks();
  let open: { block: Told[]; strength: Strength; bodyLines: number } | null = null;
  let compilerFailed = false;
  let recent: Told[] = [];
  /** The last lines before the first consequence. */
  let eve: Told[] | null = null;
  const consequences: Told[] = [];
  /** The commands that xcodebuild lists in the end as failed. */
  const listed: Told[] = [];
  let listing = false;

  const told = ({ printed }: RawLine, at: number): Told => ({ at, text: printed.slice(0, TELLING_LINE_MAX) });

  const goesOn = (line: RawLine, strength: Strength): boolean => {
    if (!open || open.block.length >= BLOCK_LINES_MAX || isNoise(line.text)) return false;
    return strength >= open.strength || isBody(line) || open.bodyLines-- > 0;
  };

  return {
    get listing() {
      return listing;
    },

    take(line, at) {
      if (listing) {
        listed.push(told(line, at));
        listing = listed.length < CONSEQUENCES_MAX;
        return;
      }
      if (isCompilerError(line.text)) {
        if (compilerFailed && rankOf(line.text) >= FOLLOWS_RANK) return;
        compilerFailed = true;
      }
      const one = told(line, at);
      if (!isNoise(line.text)) recent = [...recent.slice(1 - linesMax), one];
      const strength = strengthOf(line.text);
      if (goesOn(line, strength)) {
        open?.block.push(one);
        return;
      }
      open = null;
      if (strength === 0) return;
      open = { block: [one], strength, bodyLines: HEADER.test(line.text) ? BLOCK_LINES_MAX : BODY_LINES };
      (strength === BY_FORM ? byForm : byWords).add(open.block);
    },

    takeConsequence(line, at) {
      if (recent.length > 0) eve ??= recent.slice(-EVE_LINES);
      open = null;
      listing = FAILED_COMMANDS.test(line.text);
      if (consequences.length < CONSEQUENCES_MAX) consequences.push(told(line, at));
    },

    closeBlock() {
      open = null;
    },

    choose(max) {
      const blocks = byForm.all().length > 0 ? byForm.all() : byWords.all();
      const chosen = new Map<string, Told>();
      const choose = (lines: readonly Told[]) => {
        for (const one of lines) if (chosen.size < max && !chosen.has(one.text)) chosen.set(one.text, one);
      };
      choose(blocks[0] ?? []);
      choose(blocks.findLast(([header]) => SUMMARY.test(header?.text ?? '')) ?? []);
      choose(eve ?? (blocks.length > 0 ? recent.slice(-1) : recent));
      for (const block of blocks.slice(1).reverse()) choose(block.slice(0, 2));
      if (blocks.length === 0) choose(listed);
      if (chosen.size === 0) choose(consequences);
      return [...chosen.values()].sort((a, b) => a.at - b.at);
    },
  };
}

/** True if the line continues the line above: it is indented, quoted, or under a caret. */
const isBody = ({ text, indented }: RawLine): boolean =>
  (indented && !/^at /.test(text)) || /^(?:>|\||\^|└|┌|\d+ \||- |\* )/u.test(text);

/** The first blocks, and the last. */
function createBlocks() {
  const first: Told[][] = [];
  let last: Told[] | null = null;
  return {
    add(block: Told[]) {
      if (first.length < BLOCKS_MAX) first.push(block);
      else last = block;
    },
    all: (): Told[][] => (last ? [...first, last] : first),
  };
}
