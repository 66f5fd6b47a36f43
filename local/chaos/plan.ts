/**
 * Which builds `npm run chaos` submits and what happens to each. Pure: the same seed is the same plan, so that a run can be told by its seed.
 *
 * Invariant: exactly `faults` of the builds have a fault, each has one at most, and every kind comes about equally often.
 */
import type { Timeouts } from '#contract';
import type { Shape } from './builds.ts';
import { CHAOS_TIMEOUTS, FAULTS, type Fault, HEALTHY_SILENCE_MS, isSurvived, MOMENTS, type Moment } from './faults.ts';

export interface PlannedFault {
  kind: string;
  /** The fault comes so long after the agent has said that this is reached. */
  moment: Moment;
  delayMs: number;
}

export interface PlannedBuild {
  /** From 1. */
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
  /** Of these alone; default all. */
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
    // What ends the build comes in its own time; what it survives comes to a build that ends.
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
    // A fault of the build is not retried, and shorter timeouts are meant for one attempt.
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

/** Round after round, each kind once a round, in a new order. */
function* dealt(table: readonly Fault[], random: Random): Generator<Fault, never> {
  for (let round = 0; ; round++)
    yield* shuffled(
      table.filter(({ everyRounds = 1 }) => round % everyRounds === 0),
      random,
    );
}

type Random = () => number;

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Both included. */
const between = (low: number, high: number, random: Random): number => low + Math.floor(random() * (high - low + 1));

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = between(0, last, random);
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}
