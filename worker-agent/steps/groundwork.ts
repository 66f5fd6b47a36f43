/**
 * Gathers the needs of a build before the agent asks its VM for anything: its inputs, the plan of a profile,
 * and the number if it is known now.
 *
 * Invariant: a profile that cannot be built ends the attempt before `tart clone`, with one sentence. No
 * secret reaches this disk, an event or a message, so all of this is made again after a restart of the agent.
 */
import { existsSync } from 'node:fs';
import type { Assignment, Inputs } from '#contract';
import type { BuildPlan } from '../../client/plan/plan.ts';
import { maskText, needlesOf } from '../build-log/mask.ts';
import type { AgentConfig } from '../config.ts';
import { failed } from '../ending.ts';
import { withOwnNumber } from '../expo/own-number.ts';
import { planInTime, secretsInTime, UnreadableArchive } from '../expo/plan-in-time.ts';
import { PROFILE_GLOB } from '../expo/profile-artifacts.ts';
import { furtherSecretsOf } from '../expo/secret-texts.ts';
import { askInputs } from './command.ts';
import type { AttemptContext } from './context.ts';
import { askNumber } from './number.ts';
import { originVariables } from './origin-variables.ts';
import { step } from './step.ts';

export interface Groundwork {
  /** Null for a build with a command, which asks for its inputs right before its start. */
  inputs: Inputs | null;
  /** Null for a build with a command. */
  plan: BuildPlan | null;
  /** Null if the build has no number, or asks for it itself. */
  number: number | null;
}

/** A build with a command needs its source only later, so the agent fetches it while the VM boots. */
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
  if (need.asked !== 'before the boot') return { inputs, plan: plan.value, number: null };
  const number = await askNumber(context, need.request);
  return { inputs, plan: number === null ? withOwnNumber(plan.value) : plan.value, number };
}

async function planOf({ journal, signal, config }: AttemptContext, profile: string, inputs: Inputs) {
  const { assignment } = journal.state;
  const { platform, projectRoot: appRoot = '.', app, origin } = assignment;
  const request = { platform, profile, appRoot, app, origin, inputs, now: new Date() };
  const imageNames = namesOfImage(config.images, journal.state.image?.name);
  const given = { sourcePath: journal.sourcePath, imageNames };
  const task = { ...request, ...given, originVariables: originVariables(assignment) };
  return await planInTime(task, signal).catch((error) => {
    throw error instanceof UnreadableArchive ? failed('source_invalid', 'source', error.message) : error;
  });
}

/** The names that a profile may use for the image that its VM is made from. */
function namesOfImage(images: AgentConfig['images'], name: string | undefined): string[] {
  const image = images.find((one) => one.name === name) ?? images[0];
  return [image.name, image.vmName];
}

const needlesOfInputs = (inputs: Inputs) => needlesOf({ ...inputs, others: furtherSecretsOf(inputs) });

/** More texts that the log of a build must not show, also if another run of the agent has started it. */
export async function secretTextsOf(
  context: AttemptContext,
  inputs: Inputs,
  plan: BuildPlan | null,
): Promise<string[]> {
  return [...furtherSecretsOf(inputs), ...(plan?.secretTexts ?? (await secretsOfSource(context, inputs)))];
}

/**
 * If passwords are in the source, it is still here: see sendSource. The attempt ends if they cannot be read
 * again, because the log could then show one.
 */
async function secretsOfSource({ journal, signal }: AttemptContext, inputs: Inputs): Promise<string[]> {
  const { sourcePath } = journal;
  const { profile, projectRoot: appRoot = '.' } = journal.state.assignment;
  if (profile === undefined || !existsSync(sourcePath)) return [];
  const failure = (why: string) => failed('transfer_failed', 'source', `${NO_PASSWORDS}: ${why}`);
  const read = await secretsInTime({ sourcePath, appRoot, inputs }, signal).catch((error: Error) => {
    signal.throwIfAborted();
    throw failure(error.message);
  });
  if (!read.ok) throw failure(read.problem);
  return read.value;
}

const NO_PASSWORDS =
  'after a restart the agent could not read the source again, and without the passwords in it the log cannot be masked';

/** The artifacts to collect: those of the request, and those of a profile. */
export const globsOf = ({ artifactGlobs, profile }: Assignment) =>
  profile === undefined ? artifactGlobs : [...artifactGlobs, PROFILE_GLOB];
