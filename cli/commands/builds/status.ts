/** `expo-build status`: shows what the controller knows of a build at this moment. */
import { Command } from 'commander';
import type { Artifact, AttemptView, BuildDetail, Live, Submission } from '#contract';
import { BuildsClient } from '../../../client/builds-client.ts';
import { printable } from '../../../client/printable.ts';
import { queueWords } from '../../follow/views/status-line.ts';
import { verdictLines } from '../../follow/views/verdict-lines.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { ago, duration, moment, size, table } from '../../words.ts';
import { commitOf, placeOf, statusOf, timeOf, titleOf, versionOf } from './build-words.ts';

export function statusCommand(interrupts: Interrupts): Command {
  return new Command('status')
    .description('show how far a build is, what it waits for, or how it ended')
    .argument('<build>', 'the id of a build')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildId: string, { json }: { json: boolean }) => {
      const build = await new BuildsClient(await connect(interrupts.signal)).build(buildId);
      if (json) printJson({ type: 'build_detail', build });
      else process.stdout.write(textOf(build, Date.now()));
    });
}

const HELP = `
Examples:
  expo-build status b_01j5m2c4k8q2f7x0ab9
  expo-build status b_01j5m2c4k8q2f7x0ab9 --json | jq .build.waitingFor

The exit code is 0 whatever became of the build. \`expo-build watch BUILD\` ends with that of the build.`;

type Row = [name: string, text: string | null | undefined];

function textOf(build: BuildDetail, now: number): string {
  const { origin, attempts, artifacts, submissions, live, verdict } = build;
  const rows: Row[] = [
    ['build', build.id],
    ['status', statusOf(build, live)],
    ['place', build.queue && queueWords(build.queue, now).join(', ')],
    ['waits for', build.waitingFor],
    ['superseded by', build.supersededBy],
    ['project', build.project],
    ['builds', [build.platform, build.profile ? `profile ${build.profile}` : build.command].join(', ')],
    ['app', [build.app?.id, versionOf(build)].filter(Boolean).join(' ')],
    ['from', origin && [origin.repository, placeOf(origin), commitOf(origin)].filter(Boolean).join(', ')],
    ['commit', origin && titleOf(origin)],
    ['stranger’s', build.trusted ? null : 'yes: it gets no stored secrets and is submitted to no store'],
    ['retries', build.retryOf],
    ['asked for', `${ago(build.createdAt, now)} (${moment(build.createdAt)})`],
    [build.endedAt === null ? 'runs for' : 'took', timeOf(build, now)],
    ...(live ? liveRows(live, now) : []),
    ...told(attempts, live).map((one): Row => [`attempt ${one.attempt}`, attemptOf(one, now)]),
    ...artifacts.map((one): Row => ['artifact', artifactOf(one)]),
    ...submissions.map((one): Row => ['submission', submissionOf(one)]),
  ];
  const shown = rows.filter((row): row is [string, string] => Boolean(row[1]));
  const why = verdict ? ['', ...verdictLines({ verdict, cause: build.cause })] : [];
  return `${table(shown, Number.POSITIVE_INFINITY)}${why.map((line) => `${line}\n`).join('')}`;
}

function liveRows({ endExpectedAt, vmBeatAt, agentBeatAt, deadlines }: Live, now: number): Row[] {
  const left = (time: string) => duration(Date.parse(time) - now);
  const first = deadlines.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at))[0];
  const beats = [vmBeatAt && `VM ${ago(vmBeatAt, now)}`, agentBeatAt && `Mac ${ago(agentBeatAt, now)}`];
  return [
    ['ends in about', endExpectedAt && Date.parse(endExpectedAt) > now ? left(endExpectedAt) : null],
    ['last beats', beats.filter(Boolean).join(', ')],
    ['next deadline', first && `${first.name} in ${left(first.at)}`],
  ];
}

/**
 * Only attempts that say more than the build does: the verdict of the last attempt is that of the build.
 * While a build runs, its attempt names the Mac.
 */
const told = (attempts: readonly AttemptView[], live: Live | null) =>
  attempts.filter(({ keptUntil }) => attempts.length > 1 || keptUntil !== null || live !== null);

function attemptOf({ workerId, verdict, handedBack, exitCode, keptUntil }: AttemptView, now: number): string {
  const how = handedBack ? 'handed back, because the Mac could have no VM' : verdict?.title;
  const kept = keptUntil && Date.parse(keptUntil) > now ? `its VM is kept until ${moment(keptUntil)}` : null;
  return [`on ${workerId}`, how, exitCode === null ? null : `exit code ${exitCode}`, kept].filter(Boolean).join(', ');
}

function artifactOf({ name, size: sizeBytes, app }: Artifact): string {
  const made = app && [app.name, app.version, app.buildNumber && `(${app.buildNumber})`].filter(Boolean).join(' ');
  const profile = app?.profileExpiresAt && `its profile expires on ${moment(app.profileExpiresAt)}`;
  return [name, size(sizeBytes), made, app?.signing, profile].filter(Boolean).join(', ');
}

const submissionOf = ({ id, store, state, failure }: Submission): string =>
  [id, `${store}: ${state}`, failure?.title]
    .filter(Boolean)
    .map((text) => printable(text!))
    .join(', ');
