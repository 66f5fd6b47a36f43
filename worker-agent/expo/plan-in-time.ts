/**
 * Plans a build in a thread, and reads the passwords of its source in one.
 *
 * Invariant: no project holds up the agent. A stranger may have written the source, and some sources would
 * keep a reader busy for minutes or fill the memory. So the thread is ended when its time or its memory is
 * used up, and the agent goes on beating. Secrets pass between both in memory alone.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { type BuildPlan, makePlan, type PlanRequest } from '../../client/plan/plan.ts';
import { type Found, problem } from '../../client/project/found.ts';
import { answerOfThread } from '../files/answer-of-thread.ts';
import { secretsInSource } from './secret-texts.ts';
import { CostlySource, filesInArchive } from './source-files.ts';

/** An ordinary project takes less than 2 s, and the largest source, on a busy Mac, 15 s. */
const PLAN_MS = 30_000;
/** The names of 500,000 files take 300 MB. */
const PLAN_MEMORY_MB = 1_024;
const TASK = 'tartbeat: plan';

interface Limits {
  ms: number;
  memoryMb: number;
}
const LIMITS: Limits = { ms: PLAN_MS, memoryMb: PLAN_MEMORY_MB };

export type PlanTask = { sourcePath: string } & Omit<PlanRequest, 'files'>;
type SecretsTask = { sourcePath: string } & Pick<PlanRequest, 'appRoot' | 'inputs'>;
type Task = { plan: PlanTask } | { secrets: SecretsTask };

/** The archive of the source cannot be read. */
export class UnreadableArchive extends Error {
  override name = 'UnreadableArchive';
}

/** Rejects with UnreadableArchive, or with the reason of `signal`. */
export const planInTime = (plan: PlanTask, signal: AbortSignal, limits?: Limits): Promise<Found<BuildPlan>> =>
  inThread<BuildPlan>({ plan }, signal, limits);

/** Texts of the source that no log may show. Rejects as planInTime does. */
export const secretsInTime = (secrets: SecretsTask, signal: AbortSignal, limits?: Limits): Promise<Found<string[]>> =>
  inThread<string[]>({ secrets }, signal, limits);

type Answer = { found: Found<unknown> } | { unreadable: string };

async function inThread<T>(task: Task, signal: AbortSignal, { ms, memoryMb }: Limits = LIMITS): Promise<Found<T>> {
  signal.throwIfAborted();
  const thread = new Worker(new URL(import.meta.url), {
    workerData: { is: TASK, task },
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: memoryMb },
  });
  try {
    const answer = await answerOfThread<Answer>(thread, ms, signal);
    if (answer === null) return problem(tooCostly(`takes longer than ${ms / 1_000} s`));
    if ('unreadable' in answer) throw new UnreadableArchive(answer.unreadable);
    return answer.found as Found<T>;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY')
      return problem(tooCostly(`needs more than ${memoryMb} MB of memory`));
    throw error;
  }
}

const tooCostly = (what: string): string =>
  `Reading how the project is built (eas.json, lock files, native projects) ${what}: remove what is generated or very large from the source, and submit the build again.`;

async function answerTo(task: Task): Promise<Answer> {
  const { sourcePath } = 'plan' in task ? task.plan : task.secrets;
  let files: PlanRequest['files'];
  try {
    files = await filesInArchive(sourcePath, new AbortController().signal);
  } catch (error) {
    return { unreadable: (error as Error).message };
  }
  try {
    return {
      found: 'plan' in task ? await makePlan({ ...task.plan, files }) : await secretsFound(task.secrets, files),
    };
  } catch (error) {
    if (error instanceof CostlySource) return { found: problem(error.message) };
    throw error;
  }
}

async function secretsFound({ appRoot, inputs }: SecretsTask, files: PlanRequest['files']): Promise<Found<string[]>> {
  return { ok: true, value: await secretsInSource(files, appRoot, inputs), notes: [] };
}

// The thread runs this file too.
if (workerData?.is === TASK) parentPort!.postMessage(await answerTo(workerData.task));
