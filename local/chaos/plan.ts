/**
 * Plans the builds that `npm run chaos` submits and the fault that meets each. Pure. The same seed gives the
 * same plan, so that the seed identifies a run.
 *
 * Invariant: exactly `faults` of the builds have a fault, each has at most one, and all kinds occur equally
 * often.
 */
import type { Timeouts } from '#contract';
import type { Shape } from './builds.ts';
import { FAULTS, isSurvived } from './faults/catalogue.ts';
import { CHAOS_TIMEOUTS, type Fault, HEALTHY_SILENCE_MS, MOMENTS, type Moment } from './faults/fault.ts';

interface PlannedFault {
  kind: string;
  /** The fault comes `delayMs` after the agent has reported this moment. */
  moment: Moment;
  delayMs: number;
}

export interface PlannedBuild {
  /** Counts from 1. */
  number: number;
  shape: Shape;
  maxAttempts: number;
  timeouts: Timeouts;
  fault: PlannedFault | null;
}

export interface PlanOptions {
  seed: number;
  builds: number;
  faults: number;
  /** Only faults of these kinds are used. Default: all kinds. */
  kinds?: readonly string[];
}

export function planChaos({ seed, builds, faults, kinds }: PlanOptions): PlannedBuild[] {
  const random = randomOf(seed);
  const table = FAULTS.filter(({ kind }) => kinds === undefined || kinds.includes(kind));
  const numbers = shuffled(
    Array.from({ length: builds }, (_, index) => index + 1),
    random,
  );
  const faulty = new Set(numbers.slice(0, faults));
  const deck = dealt(table, random);
  return Array.from({ length: builds }, (_, index) => {
    const number = index + 1;
    const fault = faulty.has(number) ? deck.next().value! : null;
    return planBuild(number, fault, random);
  });
}

function planBuild(number: number, fault: Fault | null, random: Random): PlannedBuild {
  const flaw = fault?.inject.on === 'build' ? fault.inject.flaw : null;
  const kind = random();
  const shape: Shape = {
    rounds: between(3, 8, random),
    burst: between(1, 12, random),
    restMs: between(200, 500, random),
    silenceMs: 0,
    exitCode: flaw === 'exits' ? between(1, 120, random) : 0,
    // If the fault must end the build, the build prints until then. If the build must survive the fault, it
    // ends by itself.
    endless: flaw === 'endless' || (fault !== null && flaw === null && !isSurvived(fault)),
    hangs: flaw === 'hangs',
    makesArtifact: flaw !== 'no_artifact',
  };
  if (kind < 0.15) Object.assign(shape, { silenceMs: HEALTHY_SILENCE_MS });
  else if (kind < 0.3) Object.assign(shape, { burst: between(1_000, 3_000, random), rounds: 2 });
  const moments = fault?.moments ?? MOMENTS;
  return {
    number,
    shape,
    // The controller does not retry a build with a flaw of its own. Shorter timeouts are meant for one
    // attempt.
    maxAttempts: fault?.timeouts === undefined && random() < 0.25 ? 2 : 1,
    timeouts: { ...CHAOS_TIMEOUTS, ...fault?.timeouts },
    fault: fault && {
      kind: fault.kind,
      moment: fault.moments ? moments[between(0, moments.length - 1, random)]! : momentOf(fault),
      delayMs: between(0, 600, random),
    },
  };
}

const momentOf = ({ inject }: Fault): Moment =>
  inject.on === 'vm' && inject.from === 'clone' ? 'claimed' : 'building';

/** Yields round after round. Each round has each kind once, in a new order. */
function* dealt(table: readonly Fault[], random: Random): Generator<Fault, never> {
  for (let round = 0; ; round++)
    yield* shuffled(
      table.filter(({ everyRounds = 1 }) => round % everyRounds === 0),
      random,
    );
}

type Random = () => number;

/** The generator mulberry32, because it is small and gives the same numbers on every machine. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from `low` to `high`, both included. */
const between = (low: number, high: number, random: Random): number => low + Math.floor(random() * (high - low + 1));

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = between(0, last, random);
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}
