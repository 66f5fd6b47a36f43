/** `expo-build list`: lists builds, newest first. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { BUILD_STATUSES, type BuildList, LIVE_PAGE_MAX, PAGE_MAX, PLATFORMS } from '#contract';
import { BuildsClient } from '../../../client/builds-client.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { age, columnsOf, table, withoutEmptyColumns } from '../../words.ts';
import { PROJECT_OPTION, projectOf } from '../project-option.ts';
import { commitOf, madeBy, placeOf, statusOf, timeOf, titleOf, versionOf } from './build-words.ts';

interface ListOptions {
  project?: string;
  status?: string;
  profile?: string;
  platform?: string;
  branch?: string;
  limit: number;
  json: boolean;
}

const LIMIT_MAX = 1_000;
/** The most builds that `--profile` and `--platform` look through. */
const LOOKED_AT_MAX = 1_000;

export function listCommand(interrupts: Interrupts): Command {
  return new Command('list')
    .description('list builds, newest first')
    .option(...PROJECT_OPTION)
    .addOption(new Option('--status <status>', 'of this status alone').choices(BUILD_STATUSES))
    .option('--profile <name>', 'of this profile of eas.json alone')
    .addOption(new Option('--platform <name>', 'of this platform alone').choices(PLATFORMS))
    .option('--branch <name>', 'of this branch of the project alone')
    .option('--limit <number>', `how many at most, up to ${LIMIT_MAX}`, limitOf, 20)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (options: ListOptions) => {
      const { builds, wasCutOff } = await found(options, interrupts.signal);
      if (options.json) for (const build of builds) printJson({ type: 'build', build });
      else process.stdout.write(textOf(builds));
      if (wasCutOff)
        process.stderr.write(`These are of the newest ${LOOKED_AT_MAX} builds. --status and --branch look further.\n`);
    });
}

const HELP = `
Examples:
  expo-build list --status failed --limit 5
  expo-build list --branch main --platform ios
  expo-build list --json | jq -r 'select(.build.status == "succeeded") | .build.id'`;

function limitOf(text: string): number {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > LIMIT_MAX) throw new InvalidArgumentError(`Give a whole number from 1 to ${LIMIT_MAX}.`);
  return limit;
}

type Listed = BuildList['builds'][number];

async function found(options: ListOptions, signal: AbortSignal): Promise<{ builds: Listed[]; wasCutOff: boolean }> {
  const connection = await connect(signal);
  const client = new BuildsClient(connection);
  const { status, branch, profile, platform, limit } = options;
  // The controller finds a branch only within a project.
  const project =
    branch === undefined ? options.project : await projectOf(new ProjectClient(connection), options.project);
  const isFiltered = profile !== undefined || platform !== undefined;
  const isLive = !isFiltered && limit <= LIVE_PAGE_MAX;
  const filters = { ...(project && { project }), ...(status && { status }), ...(branch && { branch }) };
  const isAsked = (build: Listed) =>
    (profile === undefined || build.profile === profile) && (platform === undefined || build.platform === platform);
  const builds: Listed[] = [];
  for (let lookedAt = 0, cursor: string | null = null; lookedAt < LOOKED_AT_MAX; ) {
    const pageSize = isFiltered ? PAGE_MAX : Math.min(PAGE_MAX, limit - builds.length);
    const paging = { limit: String(pageSize), live: isLive ? '1' : '0', ...(cursor && { cursor }) };
    const page: BuildList = await client.list({ ...filters, ...paging });
    builds.push(...page.builds.filter(isAsked));
    lookedAt += pageSize;
    cursor = page.nextCursor;
    if (cursor === null || builds.length >= limit) return { builds: builds.slice(0, limit), wasCutOff: false };
  }
  return { builds, wasCutOff: true };
}

function textOf(builds: readonly Listed[]): string {
  if (builds.length === 0) return 'There are no such builds.\n';
  const now = Date.now();
  const rows = builds.map((build) => {
    const origin = build.origin ?? {};
    return [
      ...[build.id, statusOf(build, build.live), `${build.platform} ${madeBy(build)}`, versionOf(build)],
      ...[age(build.createdAt, now), timeOf(build, now) ?? '', build.project ?? '', placeOf(origin)],
      [commitOf(origin), titleOf(origin)].filter(Boolean).join(' '),
    ];
  });
  const head = ['BUILD', 'STATUS', 'WHAT', 'VERSION', 'AGE', 'TOOK', 'PROJECT', 'BRANCH', 'COMMIT'];
  return table(withoutEmptyColumns([head, ...rows]), columnsOf(process.stdout));
}
