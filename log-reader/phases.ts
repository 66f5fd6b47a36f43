/**
 * Lists every phase of a build: its name for people, and its typical duration and work.
 *
 * Invariant: the typical figures count only for a project without an earlier build.
 *
 * Sources of the figures. [L]: one `eas build --local` of an Expo app for the App Store, a time on each line,
 * 1,569 s, 116 pods, 898 compile actions. [R]: `npm ci && npx expo export` of the blank template, recorded
 * for test/samples. [G]: a guess of the right order of magnitude; it matters little, the phase is short.
 */
import { CURVE_STEPS } from '#contract';

/** The phases of a build without EAS. One kind of tool runs in each. */
export const PLAIN_PHASES = {
  command: { label: 'Running the build command', typicalMs: 600_000, typicalWork: 0 }, // [G]
  install: { label: 'Installing dependencies', typicalMs: 25_000, typicalWork: 0 }, // [L] 34.1 s, [R] 14 to 20 s
  prebuild: { label: 'Generating the native project', typicalMs: 10_000, typicalWork: 0 }, // [L] 9.9 s
  pods: { label: 'Installing pods', typicalMs: 107_000, typicalWork: 116 }, // [L] 106.9 s
  bundle: { label: 'Bundling JavaScript', typicalMs: 26_000, typicalWork: 0 }, // [R] 12 to 21 s for 467 packages
  xcode: { label: 'Compiling native code', typicalMs: 1_287_000, typicalWork: 898 }, // [L] 1,287.4 s
  export: { label: 'Exporting the app', typicalMs: 20_000, typicalWork: 0 }, // [G]
  test: { label: 'Running tests', typicalMs: 120_000, typicalWork: 0 }, // [G]
  gradle: { label: 'Compiling native code', typicalMs: 900_000, typicalWork: 1_000 }, // [G]
} as const satisfies Record<string, PhaseFacts>;
export type PlainPhase = keyof typeof PLAIN_PHASES;

export interface PhaseFacts {
  label: string;
  typicalMs: number;
  /** Units of work that the tool reports; 0 if it reports none. */
  typicalWork: number;
  /** For a phase of EAS: the plain phase whose tool runs in it. */
  like?: PlainPhase;
}

const quick = (label: string, typicalMs = 500): PhaseFacts => ({ label, typicalMs, typicalWork: 0 });
const tool = (like: PlainPhase, typicalMs: number = PLAIN_PHASES[like].typicalMs): PhaseFacts => ({
  label: PLAIN_PHASES[like].label,
  typicalMs,
  typicalWork: PLAIN_PHASES[like].typicalWork,
  like,
});

/** EAS, in the order of its builders. `eas build --local` puts the phase in front of each line. */
const EAS_START = {
  SETUP_WORKINGDIR: quick('Preparing the working folder'),
  START_BUILD: quick('Starting the build'),
  SPIN_UP_BUILDER: quick('Starting the build'),
  INSTALL_CUSTOM_TOOLS: quick('Installing build tools'),
  PREPARE_PROJECT: quick('Unpacking the project', 2_000), // [G]
  PRE_INSTALL_HOOK: quick('Running the pre-install hook'),
  READ_EAS_JSON: quick('Reading eas.json'),
  READ_PACKAGE_JSON: quick('Reading package.json'),
  INSTALL_DEPENDENCIES: tool('install', 34_000), // [L] 34.1 s
  READ_APP_CONFIG: quick('Reading the app config'),
  EAS_BUILD_INTERNAL: quick('Resolving the build profile'),
  RUN_EXPO_DOCTOR: quick('Running Expo Doctor', 30_600), // [L]
};
const EAS_END = {
  PRE_UPLOAD_ARTIFACTS_HOOK: quick('Running the pre-upload hook'),
  UPLOAD_APPLICATION_ARCHIVE: quick('Saving the app', 1_000), // [L] 3.4 s for all of the end
  UPLOAD_EMBEDDED_BUNDLE: quick('Saving the JavaScript bundle'),
  SAVE_CACHE: quick('Saving the cache'),
  CACHE_STATS: quick('Saving the cache'),
  ON_BUILD_SUCCESS_HOOK: quick('Running the success hook'),
  ON_BUILD_ERROR_HOOK: quick('Running the error hook'),
  ON_BUILD_COMPLETE_HOOK: quick('Running the completion hook'),
  ON_BUILD_CANCEL_HOOK: quick('Running the cancel hook'),
  UPLOAD_BUILD_ARTIFACTS: quick('Saving the artifacts'),
  PREPARE_ARTIFACTS: quick('Saving the artifacts', 1_000), // [L]
  COMPLETE_BUILD: quick('Finishing'),
  FAIL_BUILD: quick('Finishing'),
};
const EAS_IOS = {
  ...EAS_START,
  PREPARE_CREDENTIALS: quick('Preparing signing credentials', 8_000), // [L]
  PREBUILD: tool('prebuild'),
  RESTORE_CACHE: quick('Restoring the cache'),
  INSTALL_PODS: tool('pods'),
  POST_INSTALL_HOOK: quick('Running the post-install hook'),
  CALCULATE_EXPO_UPDATES_RUNTIME_VERSION: quick('Calculating the runtime version'),
  CONFIGURE_XCODE_PROJECT: quick('Configuring the Xcode project', 3_000), // [L]
  CONFIGURE_EXPO_UPDATES: quick('Configuring updates'),
  EAGER_BUNDLE: tool('bundle', 85_000), // [L] 84.7 s
  RUN_FASTLANE: tool('xcode'),
  CLEAN_UP_CREDENTIALS: quick('Removing signing credentials', 1_000), // [L]
  PARSE_XCACTIVITYLOG: quick('Reading the build report'),
  ...EAS_END,
};
const EAS_ANDROID = {
  ...EAS_START,
  FIX_GRADLEW: quick('Preparing Gradle'),
  PREBUILD: tool('prebuild'),
  PREPARE_CREDENTIALS: quick('Preparing signing credentials', 1_000), // [G]
  RESTORE_CACHE: quick('Restoring the cache'),
  POST_INSTALL_HOOK: quick('Running the post-install hook'),
  CALCULATE_EXPO_UPDATES_RUNTIME_VERSION: quick('Calculating the runtime version'),
  CONFIGURE_ANDROID_VERSION: quick('Configuring the Android project'),
  CONFIGURE_EXPO_UPDATES: quick('Configuring updates'),
  EAGER_BUNDLE: tool('bundle', 85_000),
  RUN_GRADLEW: tool('gradle'),
  GRADLE_BUILD_PROFILE: quick('Reading the build report'),
  ...EAS_END,
};
/** A failed build also runs these phases. They clean up, report and save the files that exist. */
export const AFTER_A_FAILURE: ReadonlySet<string> = new Set([
  ...Object.keys(EAS_END),
  'CLEAN_UP_CREDENTIALS',
  'PARSE_XCACTIVITYLOG',
  'GRADLE_BUILD_PROFILE',
]);
/**
 * Of these, the first that the engine prints after a failed phase. The others also follow a phase that has
 * succeeded.
 */
export const FAILED_BUILD_PHASES: ReadonlySet<string> = new Set([
  'ON_BUILD_ERROR_HOOK',
  'ON_BUILD_COMPLETE_HOOK',
  'UPLOAD_BUILD_ARTIFACTS',
  'PREPARE_ARTIFACTS',
]);
/** Custom EAS workflows print their steps under this name. */
const EAS_OTHER = {
  PARSE_CUSTOM_WORKFLOW_CONFIG: quick('Reading the config of the build'),
  CUSTOM: quick('Running a custom step', 60_000),
  UNKNOWN: quick('Running a custom step'),
};

const FACTS: ReadonlyMap<string, PhaseFacts> = new Map(
  Object.entries({ ...PLAIN_PHASES, ...EAS_ANDROID, ...EAS_IOS, ...EAS_OTHER } as Record<string, PhaseFacts>),
);

/** Before the first `[PHASE]`, the EAS command line packs the project and asks for credentials. [G] */
export const PREAMBLE_MS = 15_000;

export const EAS_PLANS = {
  ios: ['command', ...Object.keys(EAS_IOS)],
  android: ['command', ...Object.keys(EAS_ANDROID)],
} as const satisfies Record<string, readonly string[]>;

export const isEasPhase = (id: string): boolean => FACTS.has(id) && !(id in PLAIN_PHASES);

/** A phase that a newer EAS has is shown under its own name, in words. */
export function factsOf(id: string): PhaseFacts {
  return FACTS.get(id) ?? quick(id.charAt(0) + id.slice(1).toLowerCase().replaceAll('_', ' '));
}

/** The phase that most often follows, if neither the command nor an earlier build tells. */
const FOLLOWERS: Partial<Record<string, PlainPhase[]>> = {
  install: ['bundle'],
  prebuild: ['pods', 'xcode'],
  pods: ['xcode'],
};
/** No build of an app ends with one of these: without a plan, most of the build is still to come. */
export const BEGINNINGS: ReadonlySet<string> = new Set(['install', 'prebuild', 'pods']);
export const followersOf = (id: string): readonly string[] => FOLLOWERS[id] ?? [];

/** Tools that other tools start. Their lines change the label, but do not end the phase in which they run. */
const NESTED: Partial<Record<string, readonly PlainPhase[]>> = {
  xcode: ['bundle', 'install', 'prebuild', 'pods'],
  test: ['bundle', 'install'],
  gradle: ['bundle', 'install'],
  pods: ['install'],
};
export const runsInside = (outer: string, inner: PlainPhase): boolean => NESTED[outer]?.includes(inner) ?? false;

const COMMANDS: readonly [PlainPhase, RegExp][] = [
  ['install', /\b(?:npm (?:ci|i|install)|yarn(?: install)?(?=\s*(?:$|[;&|-]))|pnpm (?:i|install)|bun (?:i|install))\b/],
  ['prebuild', /\bexpo prebuild\b/],
  ['pods', /\bpod install\b|\bpod-install\b|\bexpo prebuild\b(?![^;&|]*(?:--no-install|android))/],
  ['bundle', /\bexpo export\b|\breact-native bundle\b/],
  ['xcode', /\bxcodebuild\b(?! -exportArchive)|\bfastlane\b|\bexpo run:ios\b|\breact-native (?:build|run)-ios\b/],
  ['export', /\bxcodebuild -exportArchive\b/],
  ['gradle', /\bgradlew?\b|\bexpo run:android\b|\breact-native (?:build|run)-android\b/],
];

/**
 * Returns the phases that a build command names, in its order. The list is empty if the command names none.
 */
export function planOf(command: string, platform: 'ios' | 'android'): readonly string[] {
  const head = command.slice(0, 8_192);
  if (/\beas(?:-cli)?(?:@\S+)? build\b/.test(head)) return EAS_PLANS[platform];
  const found = COMMANDS.map(([id, pattern]) => ({ id, at: head.search(pattern) })).filter(({ at }) => at >= 0);
  return found.sort((a, b) => a.at - b.at).map(({ id }) => id);
}

/**
 * The curve of work over time without an earlier build: first no work, then even work, then the end of the
 * tool.
 */
export const EVEN_CURVE: readonly number[] = Array.from({ length: CURVE_STEPS + 1 }, (_, i) =>
  Math.round(60 + (i / CURVE_STEPS) * 900),
);
