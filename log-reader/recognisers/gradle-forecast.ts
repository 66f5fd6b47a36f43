/**
 * Forecasts how much a Gradle build for Android still has to do, from the tasks that it has printed. Pure.
 *
 * Invariant: its memory has a limit, however many tasks and modules a build prints.
 *
 * The unit is about a second on a machine with four processors, where several tasks run side by side. The
 * figures are guesses of the right order of magnitude, from logs of React Native builds in public reports.
 * Only the ratios between them matter.
 */

export interface GradleTask {
  /** `:app`, `:react-native-screens`. */
  module: string;
  name: string;
  /** `arm64-v8a`, for tasks that run once for each architecture. */
  architecture: string | null;
  /** False if there was nothing to do. */
  ran: boolean;
}

export interface GradleForecast {
  /** Records a task that was printed, and returns its work. */
  add(task: GradleTask): number;
  /** How much is done, 0 to 1. */
  share(): number;
  /** The share of the current task in the whole, if the task prints nothing for long. */
  ahead(): number;
}

const COSTS: readonly [RegExp, number][] = [
  [/^(?:compile\w*Kotlin|ksp\w+|kapt\w+)$/, 2.5],
  [/^compile\w*JavaWithJavac$/, 0.7],
  [/^(?:configureCMake|generateJsonModel)\w*$/, 4],
  [/^create(?:Bundle\w*JsAndAssets|\w*UpdatesResources)$|^bundle\w*JsAndAssets$/, 30],
  [/^minify\w+WithR8$/, 60],
  [/^lint(?:Vital)?Analyze\w+$/, 1.5],
  [/^(?:mergeExtDex|dexBuilder|mergeDex|mergeProjectDex|mergeLibDex|desugar)\w*$/, 5],
  [/^(?:package|sign)(?:Release|Debug)(?:Bundle)?$/, 8],
  [/^strip\w+DebugSymbols$/, 1],
  [/^generateCodegen\w+$/, 0.4],
];
const SMALL = 0.02;
const NOTHING_TO_DO = 0.005;
/**
 * The work to compile C++ for one architecture: of a library, and of the app, which has the generated code of
 * all libraries.
 */
const NATIVE_LIBRARY = 32;
const NATIVE_APP = 110;
const CONFIGURE = 4;
/**
 * The work before the first module: starting the daemon, compiling the plug-ins, configuring the projects.
 */
const START = 45;
const APP = 110;
const MODULE = 6;
/** Before compiling has begun, not all modules have been seen. */
const MODULES_AT_FIRST = 15;
/** The number of architectures for which React Native builds by default. */
const ARCHITECTURES = 4;
const APP_MODULE = ':app';
/** Widely used libraries with C++ of their own. */
const NATIVE_BY_NAME =
  /^:(?:expo-modules-core|react-native-(?:reanimated|worklets|worklets-core|screens|gesture-handler|mmkv|vision-camera|nitro-modules|quick-sqlite|quick-crypto|audio-api|executorch)|op-engineering_op-sqlite|shopify_react-native-skia)$/;
/**
 * With the new architecture of React Native the app has C++ of its own: the generated code of all libraries.
 */
const NEW_ARCHITECTURE = 'generateAutolinkingNewArchitectureFiles';
const IS_NATIVE_BUILD = /^build(?:CMake|NdkBuild)/;
/** The tasks that show which other tasks will follow. */
const KINDS: readonly [kind: 'preBuild' | 'compile' | 'native' | 'merge' | 'reactNative', pattern: RegExp][] = [
  ['preBuild', /^pre\w*Build$/],
  ['compile', /^compile\w*(?:Kotlin|JavaWithJavac)$/],
  ['native', /^(?:configureCMake|buildCMake|buildNdkBuild)/],
  ['merge', /^merge\w*NativeLibs$/],
  ['reactNative', /^generate(?:Codegen|Autolinking|ReactNative)/],
];
/** The probability that the app has C++, before the log shows it. */
const APP_LIKELY = 0.5;
/** Before the first module, each task counts the same, and there will be about this many. */
const TASKS = 850;
const SHARE_MAX = 0.97;
/** A build can print any number of names. */
const NAMES_MAX = 2_000;
const MODULES_MAX = 400;
const ARCHITECTURES_MAX = 16;

interface NativeModule {
  /** Architectures whose compilation was configured, and those for which it has ended. */
  configured: Set<string>;
  built: Set<string>;
  /** True if there are no other architectures. */
  complete: boolean;
}

export function createGradleForecast(): GradleForecast {
  const modules = new Set<string>();
  const native = new Map<string, NativeModule>();
  const withoutNative = new Set<string>();
  const counted = new Set<string>();
  let compiling = false;
  let reactNative = false;
  /** How likely the app has C++ that has not shown yet. */
  let appLikely = APP_LIKELY;
  let architecturesKnown: number | null = null;
  let done = 0;
  let tasks = 0;
  let nativeSteps = 0;
  let completed = 0;
  /**
   * The work of the whole build, and of the longest compilation that is configured and has not ended. Null if
   * it must be calculated again.
   */
  let forecast: { total: number; pending: number } | null = null;

  const learn = ({ module, name, architecture }: GradleTask) => {
    const [kind] = KINDS.find(([, pattern]) => pattern.test(name)) ?? [];
    if (kind === undefined) return;
    const before = knowledge();
    if (kind === 'preBuild' && modules.size < MODULES_MAX) modules.add(module);
    if (kind === 'compile' || kind === 'native') compiling ||= modules.has(module);
    if (kind === 'reactNative') reactNative = true;
    if (name === NEW_ARCHITECTURE) appLikely = 1;
    if (kind === 'native' && architecture !== null) learnNative(module, name, architecture);
    if (kind === 'merge') learnMerged(module);
    if (knowledge() !== before) forecast = null;
  };

  const learnNative = (module: string, name: string, architecture: string) => {
    const one = native.get(module) ?? { configured: new Set(), built: new Set(), complete: false };
    if (one.configured.size >= ARCHITECTURES_MAX || (!native.has(module) && native.size >= MODULES_MAX)) return;
    native.set(module, one);
    const before = one.configured.size + one.built.size;
    one.configured.add(architecture);
    if (IS_NATIVE_BUILD.test(name)) one.built.add(architecture);
    nativeSteps += one.configured.size + one.built.size - before;
  };

  /** The module is being packed, so it has compiled all of its C++ or has none. */
  const learnMerged = (module: string) => {
    const one = native.get(module);
    if (!one && withoutNative.size < MODULES_MAX) withoutNative.add(module);
    if (!one || one.built.size === 0 || one.complete) return;
    one.complete = true;
    completed++;
    architecturesKnown = Math.max(architecturesKnown ?? 0, one.configured.size);
  };

  /** Changes with everything that the forecast depends on. */
  const knowledge = (): string =>
    [modules.size, withoutNative.size, nativeSteps, completed, compiling, reactNative, appLikely].join();

  /** How likely a module has C++: for certain if it was seen, else by its name. */
  const likelihood = (module: string): number => {
    if (native.has(module)) return 1;
    if (withoutNative.has(module)) return 0;
    if (module === APP_MODULE) return compiling && !reactNative ? 0 : appLikely;
    return NATIVE_BY_NAME.test(module) ? 1 : 0;
  };

  const architecturesOf = (module: string): number => {
    const one = native.get(module);
    if (one?.complete) return one.configured.size;
    return Math.max(architecturesKnown ?? ARCHITECTURES, one?.configured.size ?? 0);
  };

  const total = (): number => {
    const plain = START + APP + MODULE * Math.max(modules.size, compiling ? 0 : MODULES_AT_FIRST);
    const withNative = [...new Set([...modules, ...native.keys(), APP_MODULE])];
    return withNative.reduce(
      (sum, module) => sum + likelihood(module) * architecturesOf(module) * (CONFIGURE + nativeCost(module)),
      plain,
    );
  };

  const pending = (): number =>
    Math.max(
      0,
      ...[...native].map(([module, { configured, built }]) => (built.size < configured.size ? nativeCost(module) : 0)),
    );
  const now = () => {
    forecast ??= { total: total(), pending: pending() };
    return forecast;
  };

  return {
    add(task) {
      learn(task);
      tasks++;
      const cost = costOf(task);
      const key = `${task.module}:${task.name}:${task.architecture ?? ''}`;
      // A task that prints something is named again each time.
      if (cost >= 1 && counted.has(key)) return 0;
      if (cost >= 1 && counted.size < NAMES_MAX) counted.add(key);
      done += cost;
      return task.ran ? cost : NOTHING_TO_DO;
    },
    share() {
      const known = modules.size > 0 || native.size > 0;
      return Math.min(known ? (START + done) / now().total : tasks / TASKS, SHARE_MAX);
    },
    ahead: () => now().pending / now().total,
  };
}

/** A task that had nothing to do also counts as done, because the forecast had included it. */
function costOf({ module, name, ran }: GradleTask): number {
  if (IS_NATIVE_BUILD.test(name)) return nativeCost(module);
  const cost = COSTS.find(([pattern]) => pattern.test(name))?.[1];
  return cost ?? (ran ? SMALL : NOTHING_TO_DO);
}

const nativeCost = (module: string): number => (module === APP_MODULE ? NATIVE_APP : NATIVE_LIBRARY);
