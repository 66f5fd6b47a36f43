/**
 * Tells the kind of a Gradle task from its name, and how much work it is. Pure.
 *
 * The unit is about a second on a machine with four processors, where several tasks run side by side. The
 * figures are guesses of the right order of magnitude, from logs of React Native builds in public reports.
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

export const APP_MODULE = ':app';
/** The work to bundle the JavaScript of the app. */
export const BUNDLE = 30;
/** The work to shrink the app with R8. The templates of Expo and React Native switch R8 off. */
export const SHRINK = 60;
/**
 * The work to compile C++ for one architecture: of a library, and of the app, which has the generated code of
 * all libraries.
 */
const NATIVE_LIBRARY = 32;
const NATIVE_APP = 110;
export const CONFIGURE = 4;
export const LINT = 1.5;
const SMALL = 0.02;
export const NOTHING_TO_DO = 0.005;

const COSTS: readonly [RegExp, number][] = [
  [/^(?:compile\w*Kotlin|ksp\w+|kapt\w+)$/, 2.5],
  [/^compile\w*JavaWithJavac$/, 0.7],
  [/^(?:configureCMake|generateJsonModel)\w*$/, CONFIGURE],
  [/^create(?:Bundle\w*JsAndAssets|\w*UpdatesResources)$|^bundle\w*JsAndAssets$/, BUNDLE],
  [/^minify\w+WithR8$/, SHRINK],
  [/^lint(?:Vital)?Analyze\w+$/, LINT],
  [/^(?:mergeExtDex|dexBuilder|mergeDex|mergeProjectDex|mergeLibDex|desugar)\w*$/, 5],
  [/^(?:package|sign)(?:Release|Debug)(?:Bundle)?$/, 8],
  [/^strip\w+DebugSymbols$/, 1],
  [/^generateCodegen\w+$/, 0.4],
];
const IS_NATIVE_BUILD = /^build(?:CMake|NdkBuild)/;

/** A kind of task that shows which other tasks will follow. */
export type TaskKind =
  | 'preBuild'
  | 'compile'
  | 'configureNative'
  | 'buildNative'
  | 'mergeNative'
  | 'newArchitecture'
  | 'reactNative'
  | 'shrink'
  | 'dex';
const KINDS: readonly [TaskKind, RegExp][] = [
  ['preBuild', /^pre\w*Build$/],
  ['compile', /^compile\w*(?:Kotlin|JavaWithJavac)$/],
  ['configureNative', /^configureCMake/],
  ['buildNative', IS_NATIVE_BUILD],
  ['mergeNative', /^merge\w*NativeLibs$/],
  // React Native makes `:app:preBuild` depend on this task, but only with the new architecture. The first
  // name is of React Native 0.75 and later, the second one of the CLI before.
  ['newArchitecture', /^generate(?:Autolinking)?NewArchitectureFiles$/],
  ['reactNative', /^generate(?:Codegen|Autolinking|ReactNative)/],
  ['shrink', /^minify\w+WithR8$/],
  ['dex', /^(?:mergeExtDex|dexBuilder)/],
];

export const kindOf = (name: string): TaskKind | null => KINDS.find(([, pattern]) => pattern.test(name))?.[0] ?? null;

/** A task that had nothing to do costs as much, because a forecast includes it as well. */
export function costOf({ module, name, ran }: GradleTask): number {
  if (IS_NATIVE_BUILD.test(name)) return nativeCost(module);
  const cost = COSTS.find(([pattern]) => pattern.test(name))?.[1];
  return cost ?? (ran ? SMALL : NOTHING_TO_DO);
}

export const nativeCost = (module: string): number => (module === APP_MODULE ? NATIVE_APP : NATIVE_LIBRARY);
