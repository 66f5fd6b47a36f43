/**
 * Forecasts how much work a Gradle build for Android has left, from the tasks that it has printed. Pure.
 *
 * Invariant: its memory has a limit, however many tasks and modules a build prints.
 */
import { createNativeWork } from './native.ts';
import {
  APP_MODULE,
  BUNDLE,
  costOf,
  type GradleTask,
  kindOf,
  LINT,
  NOTHING_TO_DO,
  SHRINK,
  type TaskKind,
} from './tasks.ts';

export interface GradleForecast {
  /** Records a task that was printed, and returns its work. */
  add(task: GradleTask): number;
  /** How much is done, 0 to 1. */
  share(): number;
  /** The share of the current task in the whole, if the task prints nothing for long. */
  ahead(): number;
  /** How long the whole build takes on a machine with four processors. */
  typicalMs(): number;
}

/**
 * The work before the first module: starting the daemon, compiling the plug-ins, configuring the projects.
 */
const START = 60;
/** Half of the start is over after this many tasks; they are those of the plug-ins. */
const START_TASKS = 15;
/** The work for the app and for each module, without bundling, R8, lint and C++. */
const APP = 30;
const MODULE = 4.5;
/** Before compiling has begun, not all modules have been seen. */
const MODULES_AT_FIRST = 15;
/** The probability that the app is shrunk, before the log shows it. */
const SHRINK_LIKELY = 0.3;
/** Without a module, each task counts the same, and there will be about this many. */
const TASKS = 850;
const SHARE_MAX = 0.97;
/** The libraries of an app for development are built for development too. */
const FOR_DEVELOPMENT = /^pre\w*DebugBuild$/;
/** A build can print any number of names. */
const NAMES_MAX = 2_000;
const MODULES_MAX = 400;

export function createGradleForecast(): GradleForecast {
  const modules = new Set<string>();
  const native = createNativeWork();
  const counted = new Set<string>();
  let compiling = false;
  /** An app for development is neither bundled nor shrunk, and lint does not look at it. */
  let forDevelopment = false;
  /** How likely a release is shrunk. */
  let shrinkLikely = SHRINK_LIKELY;
  let done = 0;
  let tasks = 0;
  /**
   * The work of the whole build, and of the longest compilation of C++ under way. Null if it must be
   * calculated again.
   */
  let forecast: { total: number; pending: number } | null = null;

  const learn = (task: GradleTask, kind: TaskKind) => {
    const { module, name } = task;
    const before = knowledge();
    if (kind === 'preBuild' && modules.size < MODULES_MAX) modules.add(module);
    if (kind === 'compile' || kind === 'configureNative' || kind === 'buildNative') compiling ||= modules.has(module);
    if (kind === 'preBuild') forDevelopment ||= FOR_DEVELOPMENT.test(name);
    if (kind === 'dex' && module === APP_MODULE) shrinkLikely = 0;
    if (kind === 'shrink') shrinkLikely = 1;
    const nativeChanged = native.learn(task, kind);
    if (nativeChanged || knowledge() !== before) forecast = null;
  };

  /** Changes with everything that the forecast depends on, except the C++. */
  const knowledge = (): string => [modules.size, compiling, forDevelopment, shrinkLikely].join();

  const total = (): number => {
    const expected = Math.max(modules.size, compiling ? 0 : MODULES_AT_FIRST);
    const release = forDevelopment ? 0 : BUNDLE + shrinkLikely * SHRINK + LINT * expected;
    return START + APP + MODULE * expected + release + native.total(modules, compiling);
  };

  const now = () => {
    forecast ??= { total: total(), pending: native.pending() };
    return forecast;
  };

  return {
    add(task) {
      const kind = kindOf(task.name);
      if (kind !== null) learn(task, kind);
      tasks++;
      const cost = costOf(task);
      const key = `${task.module}:${task.name}:${task.architecture ?? ''}`;
      // A task that prints something is named again each time.
      if (cost >= 1 && counted.has(key)) return 0;
      if (cost >= 1 && counted.size < NAMES_MAX) counted.add(key);
      if (modules.size > 0) done += cost;
      return task.ran ? cost : NOTHING_TO_DO;
    },
    share() {
      const started = START / now().total;
      const share =
        modules.size > 0
          ? started + done / now().total
          : Math.max((started * tasks) / (tasks + START_TASKS), tasks / TASKS);
      return Math.min(share, SHARE_MAX);
    },
    ahead: () => now().pending / now().total,
    typicalMs: () => Math.round(now().total * 1_000),
  };
}
