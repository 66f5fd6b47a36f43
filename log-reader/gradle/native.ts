/**
 * Finds the modules of a Gradle build with C++, and for how many architectures, from the tasks so far. Pure.
 *
 * Invariant: its memory has a limit, however many modules and architectures a build prints.
 */
import { APP_MODULE, CONFIGURE, type GradleTask, nativeCost, type TaskKind } from './tasks.ts';

export interface NativeWork {
  /** Records a task. Returns true if it changes the forecast. */
  learn(task: GradleTask, kind: TaskKind): boolean;
  /**
   * The work of all C++ in the modules named and in those seen. `compiling` says that a module has begun to
   * compile. By then an app of React Native has shown that it is one.
   */
  total(modules: Iterable<string>, compiling: boolean): number;
  /** The work of the longest compilation that is configured and has not ended. */
  pending(): number;
}

interface NativeModule {
  /** Architectures whose compilation was configured, and those for which it has ended. */
  configured: Set<string>;
  built: Set<string>;
  /** True if there are no other architectures. */
  complete: boolean;
}

/** The number of architectures for which React Native builds by default. */
const ARCHITECTURES = 4;
/** Widely used libraries with C++ of their own. */
const NATIVE_BY_NAME =
  /^:(?:expo-modules-core|react-native-(?:reanimated|worklets|worklets-core|screens|gesture-handler|mmkv|vision-camera|nitro-modules|quick-sqlite|quick-crypto|audio-api|executorch)|op-engineering_op-sqlite|shopify_react-native-skia)$/;
/**
 * How much of the app's C++ is expected before the log shows whether there is any. With the new architecture
 * of React Native the app has some: the generated code of all libraries. This is lower than its probability,
 * because a build without C++ is short: a wrong guess lasts for half of it, and for a tenth of the others.
 */
const APP_LIKELY = 0.3;
/** A build can print any number of names. */
const MODULES_MAX = 400;
const ARCHITECTURES_MAX = 16;

export function createNativeWork(): NativeWork {
  const native = new Map<string, NativeModule>();
  const withoutNative = new Set<string>();
  let reactNative = false;
  let appLikely = APP_LIKELY;
  let architecturesKnown: number | null = null;

  const learnStep = (module: string, architecture: string, built: boolean): boolean => {
    const one = native.get(module) ?? { configured: new Set(), built: new Set(), complete: false };
    if (one.configured.size >= ARCHITECTURES_MAX || (!native.has(module) && native.size >= MODULES_MAX)) return false;
    native.set(module, one);
    const before = one.configured.size + one.built.size;
    one.configured.add(architecture);
    if (built) one.built.add(architecture);
    return one.configured.size + one.built.size > before;
  };

  /** The module is being packed, so it has compiled all of its C++ or has none. */
  const learnMerged = (module: string): boolean => {
    const one = native.get(module);
    if (!one && withoutNative.size < MODULES_MAX) withoutNative.add(module);
    if (!one) return true;
    if (one.built.size === 0 || one.complete) return false;
    one.complete = true;
    architecturesKnown = Math.max(architecturesKnown ?? 0, one.configured.size);
    return true;
  };

  const learnApp = (isReactNative: boolean, likely: number): boolean => {
    const changed = reactNative !== isReactNative || appLikely !== likely;
    reactNative = isReactNative;
    appLikely = likely;
    return changed;
  };

  /** The probability that a module has C++: certain if it was seen, else by its name. */
  const likelihood = (module: string, compiling: boolean): number => {
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

  return {
    learn({ module, name, architecture }, kind) {
      if (kind === 'newArchitecture') return learnApp(true, 1);
      if (kind === 'reactNative') return learnApp(true, appLikely);
      // The task of the new architecture would have come before this one.
      if (module === APP_MODULE && name === 'preBuild' && appLikely < 1) return learnApp(reactNative, 0);
      if (kind === 'mergeNative') return learnMerged(module);
      const isStep = kind === 'configureNative' || kind === 'buildNative';
      return isStep && architecture !== null && learnStep(module, architecture, kind === 'buildNative');
    },

    total: (modules, compiling) =>
      [...new Set([...modules, ...native.keys(), APP_MODULE])].reduce(
        (sum, module) =>
          sum + likelihood(module, compiling) * architecturesOf(module) * (CONFIGURE + nativeCost(module)),
        0,
      ),

    pending: () =>
      [...native]
        .filter(([, { configured, built }]) => built.size < configured.size)
        .reduce((most, [module]) => Math.max(most, nativeCost(module)), 0),
  };
}
