/**
 * Parses the command line of `npm run test:steady`: takes the arguments, and returns options or throws a
 * UsageError.
 */
import { parseArgs } from 'node:util';

export interface SteadyOptions {
  help: boolean;
  runs: number;
  load: boolean;
  /** The projects of vitest.config.ts. */
  projects: string[];
  /** As vitest takes them: a part of the path is enough. Empty means all files of the projects. */
  files: string[];
}

export class UsageError extends Error {
  override name = 'UsageError';
}

const RUNS_DEFAULT = 5;
const RUNS_MAX = 10_000;

export const HELP = `npm run test:steady -- --runs N [--load] [--programs] [--farm] [files...]

Runs the tests of \`npm test\` again and again, and prints each test that ever failed, with how often. A test that fails
once in fifty runs is a defect, of the product or of the test.

  --runs N     how many runs (default ${RUNS_DEFAULT})
  --load       keep all processors busy meanwhile, with as many busy loops as there are processors
  --programs   run the tests of \`npm run test:programs\` instead
  --farm       run the tests of \`npm run test:farm\` instead
  files...     run these files instead; a part of the path is enough
  --help       show this text

Ctrl-C ends it, and shows what was seen so far.
Exit code: 0 no test failed; 1 some did; 64 wrong usage; 130 interrupted before any test failed.
`;

/** Throws UsageError. */
export function parseSteadyOptions(words: string[]): SteadyOptions {
  const { values, positionals } = parse(words);
  const runs = values.runs ?? String(RUNS_DEFAULT);
  if (!/^\d{1,5}$/.test(runs) || Number(runs) < 1 || Number(runs) > RUNS_MAX)
    throw new UsageError(`--runs: give a whole number from 1 to ${RUNS_MAX}`);
  const named = (['programs', 'farm'] as const).filter((name) => values[name]);
  if (named.length > 0 && positionals.length > 0)
    throw new UsageError(`--${named[0]}: name files, or run all tests of \`npm run test:${named[0]}\`; not both`);
  return {
    help: values.help === true,
    runs: Number(runs),
    load: values.load === true,
    projects: named.length > 0 ? named : ['controller', 'node'],
    files: positionals,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        runs: { type: 'string' },
        load: { type: 'boolean' },
        programs: { type: 'boolean' },
        farm: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
