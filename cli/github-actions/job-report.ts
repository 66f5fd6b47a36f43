/**
 * Tells a job of GitHub Actions about its builds: annotations on standard output, the summary and the outputs
 * in the files that the runner names.
 */
import { appendFileSync, existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Build, BuildDetail } from '#contract';
import { annotationsOf } from './annotations.ts';
import { writeCommands } from './guard-output.ts';
import { writeOutputs } from './outputs.ts';
import { type SummarisedBuild, stepSummary } from './step-summary.ts';
import { workflowCommand } from './workflow-commands.ts';

/** For a job that has no build, which is no fault. */
export function reportSkipped(why: string): void {
  writeCommands(process.stdout, [workflowCommand('notice', why, { title: 'No build' })]);
  writeSummary(`<p>${why}</p>\n`);
  writeOutputs({ status: ['skipped'] });
}

export function reportFault(message: string): void {
  writeCommands(process.stdout, [workflowCommand('error', message, { title: 'expo-build' })]);
}

interface SubmittedBuild {
  build: Build;
  address: string;
}

/** Writes these outputs at once, so that a cancelled job has them too. */
export function reportSubmitted(submitted: readonly SubmittedBuild[]): void {
  writeOutputs({
    id: submitted.map(({ build }) => build.id),
    url: submitted.map(({ address }) => address),
    status: submitted.map(({ build }) => statusOf(build)),
  });
}

export interface EndedBuild extends SummarisedBuild {
  build: BuildDetail;
}

/** `files` are the artifacts on the disk of the runner. */
export function reportEnded(ended: readonly EndedBuild[], files: readonly string[]): void {
  const root = rootOfCheckout(process.cwd());
  writeCommands(
    process.stdout,
    ended.flatMap(({ build }) => annotationsOf(build, root)),
  );
  writeSummary(stepSummary(ended));
  writeOutputs({
    status: ended.map(({ build }) => statusOf(build)),
    verdict: ended.map(({ build }) => build.verdict?.code ?? ''),
    'artifact-path': files,
    'install-url': ended.flatMap(({ install }) => install?.url ?? []),
  });
}

const statusOf = ({ status, supersededBy }: Build): string => (supersededBy === null ? status : 'superseded');

function writeSummary(text: string): void {
  const { GITHUB_STEP_SUMMARY: path } = process.env;
  if (path) appendFileSync(path, text);
}

/** GitHub counts the paths of annotations from this folder. */
function rootOfCheckout(folder: string): string {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return at;
    if (dirname(at) === at) return process.env.GITHUB_WORKSPACE ?? folder;
  }
}
