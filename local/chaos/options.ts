/**
 * Parses the command line of `npm run chaos`: takes the arguments, and returns options or throws a
 * UsageError.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { FAULTS } from './faults/catalogue.ts';

interface ChaosOptions {
  help: boolean;
  builds: number;
  workers: number;
  faults: number;
  seed: number;
  /** After this time no further build is submitted. Null if all builds are submitted. */
  minutes: number | null;
  /** Only faults of these kinds are used. Null means all kinds. */
  kinds: string[] | null;
  jsonPath: string | null;
  keep: boolean;
}

export class UsageError extends Error {
  override name = 'UsageError';
}

const DEFAULTS = { workers: 4, faults: 60, seed: 1 } as const;
const MAX = { builds: 100_000, workers: 64, faults: 100_000, seed: 2 ** 32 - 1, minutes: 10_000 } as const;

export const HELP = `npm run chaos -- --faults ${DEFAULTS.faults} --seed ${DEFAULTS.seed}

Sends builds through a controller and several simulated Macs on this machine, and injects faults at random. Counts the
builds that were stuck or wrongly ended, and everything that was lost or left behind. Timeouts are scaled down to seconds.

  --builds N      how many builds (default: faults + a quarter)
  --workers M     how many Macs, each with one VM at a time (default ${DEFAULTS.workers})
  --faults N      how many of the builds meet a fault (default ${DEFAULTS.faults})
  --seed S        seed of the random plan (default ${DEFAULTS.seed}): the same seed draws the same builds and faults
  --minutes N     submit no more builds after this time; running builds are still judged
  --kinds A,B     use only these faults: ${FAULTS.map(({ kind }) => kind).join(', ')}
  --json FILE     write the result to this file
  --keep          keep the temporary folder, with the controller's database and the agents' state
  --help          show this text

Ctrl-C stops the run, shows the results so far and leaves nothing behind. A second Ctrl-C stops it at once.
Exit code: 0 the promises were kept; 1 something was stuck, left behind, lost or wrongly ended, or more than 0.1 % of
the verdicts or 0.5 % of the causes were wrong; 64 wrong usage; 130 interrupted.
`;

/** Throws UsageError. Relative paths begin at `cwd`. */
export function parseChaosOptions(words: string[], cwd: string = process.env.INIT_CWD ?? process.cwd()): ChaosOptions {
  const values = parse(words);
  const faults = whole('faults', values.faults, DEFAULTS.faults, 0);
  const builds = whole('builds', values.builds, Math.max(1, faults + Math.ceil(faults / 4)), 1);
  if (builds < faults)
    throw new UsageError(
      `--builds: ${faults} faults need at least ${faults} builds, because each build meets at most one; give more builds`,
    );
  const kinds = values.kinds === undefined ? null : values.kinds.split(',');
  for (const kind of kinds ?? [])
    if (!FAULTS.some((fault) => fault.kind === kind))
      throw new UsageError(`--kinds: there is no fault ${kind}; \`--help\` lists all`);
  if (values.json === '') throw new UsageError('--json: give the name of a file');
  return {
    help: values.help === true,
    builds,
    workers: whole('workers', values.workers, DEFAULTS.workers, 1),
    faults,
    seed: whole('seed', values.seed, DEFAULTS.seed, 0),
    minutes: values.minutes === undefined ? null : whole('minutes', values.minutes, 0, 1),
    kinds,
    jsonPath: values.json === undefined ? null : resolve(cwd, values.json),
    keep: values.keep === true,
  };
}

function whole(name: keyof typeof MAX, text: string | undefined, fallback: number, least: number): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= MAX[name]))
    throw new UsageError(`--${name}: give a whole number from ${least} to ${MAX[name]}`);
  return value;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        help: { type: 'boolean', short: 'h' },
        keep: { type: 'boolean' },
        builds: { type: 'string' },
        workers: { type: 'string' },
        faults: { type: 'string' },
        seed: { type: 'string' },
        minutes: { type: 'string' },
        kinds: { type: 'string' },
        json: { type: 'string' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
