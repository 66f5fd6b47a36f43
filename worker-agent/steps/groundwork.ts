/**
 * Brings together what a build needs before its VM is asked for anything: its inputs, the plan of a profile,
 * and the number that can be told now.
 *
 * Invariant: a profile that cannot be built ends the attempt before `tart clone`, with one sentence. Nothing
 * that is secret reaches this disk, an event or a message, so all of this is made again after a restart of
 * the agent.
 */
import { existsSync } from 'node:fs';
import type { Assignment, Inputs } from '#contract';
import { maskText, needlesOf } from '../build-log/mask.ts';
import { failed } from '../ending.ts';
import { type BuildPlan, makePlan, PROFILE_GLOB } from '../expo/plan.ts';
import { furtherSecretsOf } from '../expo/secret-texts.ts';
import { filesInArchive } from '../expo/source-files.ts';
import { askInputs } from './command.ts';
import type { AttemptContext } from './context.ts';
import { askNumber } from './number.ts';
import { originVariables } from './origin-variables.ts';
import { step } from './step.ts';

export interface Groundwork {
  /** Null for a build with a command, which asks for them right before its start. */
  inputs: Inputs | null;
  /** Null for a build with a command. */
  plan: BuildPlan | null;
  /** Null if the build has none, or asks for it itself. */
  number: number | null;
}

/** A build with a command needs its source only later, so that it can be fetched while the VM boots. */
export async function layGroundwork(context: AttemptContext, source: Promise<void>): Promise<Groundwork> {
  const { profile, app } = context.journal.state.assignment;
  if (profile !== undefined) return await step(context, 'project', () => forProfile(context, profile, source));
  const number = app ? await askNumber(context, { app, increment: true }) : null;
  return { inputs: null, plan: null, number };
}

async function forProfile(context: AttemptContext, profile: string, source: Promise<void>): Promise<Groundwork> {
  const [inputs] = await Promise.all([askInputs(context), source]);
  const plan = await planOf(context, profile, inputs);
  if (!plan.ok) throw failed('project_invalid', 'project', maskText(needlesOfInputs(inputs), plan.problem));
  const { number: need } = plan.value;
  const number = need.asked === 'before the boot' ? await askNumber(context, need.request) : null;
  return { inputs, plan: plan.value, number };
}

async function planOf({ journal, signal, config }: AttemptContext, profile: string, inputs: Inputs) {
  const { assignment } = journal.state;
  const { platform, projectRoot: appRoot = '.', app, origin } = assignment;
  const files = await filesInArchive(journal.sourcePath, signal).catch((error: Error) => {
    signal.throwIfAborted();
    throw failed('source_invalid', 'source', error.message);
  });
  const request = { platform, profile, appRoot, app, origin, inputs, files, now: new Date() };
  const imageNames = [config.vmName];
  return await makePlan({ ...request, imageNames, originVariables: originVariables(assignment) });
}

const needlesOfInputs = (inputs: Inputs) => needlesOf({ ...inputs, others: furtherSecretsOf(inputs) });

/**
 * The further texts that the log of a build must not show, also if another run of the agent has started it.
 */
export async function secretTextsOf(
  context: AttemptContext,
  inputs: Inputs,
  plan: BuildPlan | null,
): Promise<string[]> {
  return [...furtherSecretsOf(inputs), ...((plan ?? (await planAgain(context, inputs)))?.secretTexts ?? [])];
}

/**
 * The source is still here if passwords stand in it: see sendSource. A plan that fails now has none to hide.
 */
async function planAgain(context: AttemptContext, inputs: Inputs): Promise<BuildPlan | null> {
  const { profile } = context.journal.state.assignment;
  if (profile === undefined || !existsSync(context.journal.sourcePath)) return null;
  const plan = await planOf(context, profile, inputs).catch(() => null);
  context.signal.throwIfAborted();
  return plan?.ok ? plan.value : null;
}

/** What the agent collects beside what the request names. */
export const globsOf = ({ artifactGlobs, profile }: Assignment) =>
  profile === undefined ? artifactGlobs : [...artifactGlobs, PROFILE_GLOB];
