/**
 * Defines a recogniser, which reads the output of one tool. It knows nothing of other tools.
 */
import type { PlainPhase } from '../phases.ts';

/** The facts that one line of output shows. */
export interface Sighting {
  phase: PlainPhase;
  /** Units of work that this line reports. */
  work?: number;
  /** Units of work done so far, where the tool counts itself. */
  done?: number;
  /** How much of the phase is done, 0 to 1, where the tool or its plan tells. */
  share?: number;
  /** The share of the current step in the phase, if the step prints nothing until its end. */
  ahead?: number;
  /** How long the whole phase typically takes, if the tool's output tells. */
  typicalMs?: number;
  /** The tool has ended. */
  ended?: boolean;
  /** How long the tool ran, as it reports it. Time before its first line then also counts to its phase. */
  tookMs?: number;
  /** A better name than the phase's own for the current work. */
  label?: string;
  /** The name for the current work if another tool runs this one. */
  labelInside?: string;
  /** How large the project is, in the units of the phase seen: pods, packages. */
  size?: number;
}

/** Null if the line is not this tool's. May keep state; never throws. */
export type Recognise = (line: string) => Sighting | null;

export interface Recogniser {
  tool: string;
  /**
   * The characters with which its lines can begin; null if any. With them, most lines skip most recognisers.
   */
  starts: string | null;
  create(): Recognise;
}

/** Makes a recogniser without state from a list of patterns. The first pattern that matches counts. */
export type Rule = readonly [pattern: RegExp, sighting: Sighting | ((match: RegExpExecArray) => Sighting)];

export function fromRules(tool: string, starts: string | null, rules: readonly Rule[]): Recogniser {
  const recognise: Recognise = (line) => {
    for (const [pattern, sighting] of rules) {
      const match = pattern.exec(line);
      if (match) return typeof sighting === 'function' ? sighting(match) : sighting;
    }
    return null;
  };
  return { tool, starts, create: () => recognise };
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `17s`, `1m 3.5s`, `4m`, `69808ms` in milliseconds. */
export function durationMs(text: string): number {
  let total = 0;
  for (const [, figure, unit] of text.matchAll(/([\d.]+)\s*(ms|s|m|h)/g)) {
    total += Number(figure) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return Number.isFinite(total) ? total : 0;
}

/** A share from two counters as printed; 0 if they make no sense. */
export function ratio(done: string | undefined, total: string | undefined): number {
  const share = Number(done) / Number(total);
  return Number.isFinite(share) ? Math.min(Math.max(share, 0), 1) : 0;
}
