/**
 * Forecasts how much a Gradle build for Android still has to do, from the tasks that it has printed. Pure.
 *
 * Invariant: bounded memory, however many tasks and modules a build prints.
 *
 * The unit is about a second on a machine with four processors, where several tasks run side by side. The figures are
 * guesses of the right order of magnitude, after logs of builds of React Native apps in public reports; only how they
 * compare with each other matters.
 */

export interface GradleTask {
  /** `:app`, `:react-native-screens`. */
  module: string;
  name: string;
  /** `arm64-v8a`, for tasks that there are of each architecture. */
  architecture: string | null;
  /** False if there was nothing to do. */
  ran: boolean;
}

export interface GradleForecast {
  /** Takes in a task that was printed; returns what it counts. */
  add(task: GradleTask): number;
  /** How much is done, 0 to 1. */
  share(): number;
  /** How much of the whole the task under way stands for, if it is one that is silent for long. */
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
/** Compiling C++ for one architecture: a library's, and the app's own, which holds the generated code of all libraries. */
const NATIVE_LIBRARY = 32;
const NATIVE_APP = 110;
const CONFIGURE = 4;
/** Starting the daemon, compiling the plug-ins, configuring the projects: over when the first module is built. */
const START = 45;
const APP = 110;
const MODULE = 6;
/** Before compiling has begun, not all modules have been seen. */
const MODULES_AT_FIRST = 15;
/** What React Native builds for unless it is told otherwise. */
const ARCHITECTURES = 4;
const APP_MODULE = ':app';
/** Widely used libraries with C++ of their own. */
const NATIVE_BY_NAME =
  /^:(?:expo-modules-core|react-native-(?:reanimated|worklets|worklets-core|screens|gesture-handler|mmkv|vision-camera|nitro-modules|quick-sqlite|quick-crypto|audio-api|executorch)|op-engineering_op-sqlite|shopify_react-native-skia)$/;
/** With the new architecture of React Native the app has C++ of its own: the generated code of all libraries. */
const NEW_ARCHITECTURE = 'generateAutolinkingNewArchitectureFiles';
const REACT_NATIVE = /^generate(?:Codegen|Autolinking|ReactNative)/;
/** That the app has C++, as long as neither that nor the opposite was seen. */
const APP_LIKELY = 0.5;
/** Before any module is known, each task counts the same, of about so many. */
const TASKS = 850;
const SHARE_MAX = 0.97;
const NAMES_MAX = 2_000;

interface NativeModule {
  architectures: Set<string>;
  built: number;
  /** All architectures are built. */
  complete: boolean;
}

export function createGradleForecast(): GradleForecast {
  const modules = new Set<string>();
  const native = new Map<string, NativeModule>();
  const withoutNative = new Set<string>();
  const counted = new Set<string>();
  let compiling = false;
  /** How likely the app has C++ that has not shown yet. */
  let appLikely = APP_LIKELY;
  let reactNative = false;
  let done = 0;
  let tasks = 0;
  let architecturesKnown: number | null = null;

  const nativeCost = (module: string) => (module === APP_MODULE ? NATIVE_APP : NATIVE_LIBRARY);

  const costOf = ({ module, name, ran }: GradleTask): number => {
    if (!ran) return NOTHING_TO_DO;
    if (/^buildCMake|^buildNdkBuild/.test(name)) return nativeCost(module);
    return COSTS.find(([pattern]) => pattern.test(name))?.[1] ?? SMALL;
  };

  const learn = ({ module, name, architecture }: GradleTask) => {
    if (/^pre(?:\w*Build)$/.test(name) && modules.size < NAMES_MAX) modules.add(module);
    if (modules.has(module) && /^(?:compile\w*Kotlin|compile\w+JavaWithJavac|configureCMake)/.test(name))
      compiling = true;
    if (REACT_NATIVE.test(name)) reactNative = true;
    if (name === NEW_ARCHITECTURE) appLikely = 1;
    if (architecture !== null && /^(?:configureCMake|buildCMake)/.test(name)) {
      const one = native.get(module) ?? { architectures: new Set(), built: 0, complete: false };
      if (native.size < NAMES_MAX) native.set(module, one);
      if (one.architectures.size < 16) one.architectures.add(architecture);
      if (name.startsWith('buildCMake')) one.built++;
    }
    if (/^merge\w*NativeLibs$/.test(name)) {
      const one = native.get(module);
      if (!one) withoutNative.add(module);
      else if (one.built > 0) {
        one.complete = true;
        architecturesKnown = Math.max(architecturesKnown ?? 0, one.architectures.size);
      }
    }
  };

  /** How likely a module has C++: for certain if it was seen, else by its name. */
  const likelihood = (module: string): number => {
    if (native.has(module)) return 1;
    if (withoutNative.has(module)) return 0;
    if (module === APP_MODULE) return compiling && !reactNative ? 0 : appLikely;
    return NATIVE_BY_NAME.test(module) ? 1 : 0;
  };

  const architecturesOf = (module: string): number => {
    const one = native.get(module);
    if (one?.complete) return one.architectures.size;
    return Math.max(architecturesKnown ?? ARCHITECTURES, one?.architectures.size ?? 0);
  };

  const total = (): number => {
    const plain = START + APP + MODULE * Math.max(modules.size, compiling ? 0 : MODULES_AT_FIRST);
    const compiled = [...new Set([...modules, ...native.keys(), APP_MODULE])].reduce(
      (sum, module) => sum + likelihood(module) * architecturesOf(module) * (CONFIGURE + nativeCost(module)),
      0,
    );
    return plain + compiled;
  };

  return {
    add(task) {
      learn(task);
      const cost = costOf(task);
      tasks++;
      const key = `${task.module}:${task.name}:${task.architecture ?? ''}`;
      // A task that prints something is named again each time.
      if (cost >= 1 && counted.has(key)) return 0;
      if (cost >= 1 && counted.size < NAMES_MAX) counted.add(key);
      done += cost;
      return cost;
    },
    share() {
      const known = modules.size > 0 || native.size > 0;
      return Math.min(known ? (START + done) / total() : tasks / TASKS, SHARE_MAX);
    },
    ahead() {
      const pending = [...native].filter(([, { architectures, built }]) => built < architectures.size);
      return Math.max(0, ...pending.map(([module]) => nativeCost(module))) / total();
    },
  };
}
