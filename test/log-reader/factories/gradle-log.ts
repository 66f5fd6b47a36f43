/**
 * Makes up a Gradle build of a React Native app in the shape of real ones: hundreds of tasks that take no
 * time, and a few that compile C++ for minutes, for each processor architecture one after the other. Tasks
 * run side by side and share the processors; a compilation of C++ uses all of them. A task is printed when it
 * has ended, as Gradle's plain console does it.
 *
 * How long tasks take is set after public reports (2 to 4 minutes for the app's own C++ and one
 * architecture), not after what the parser expects.
 */
import { random, type TimedLine } from './logs.ts';

export interface GradleShape {
  seed?: number;
  /** The number of libraries of Kotlin or Java alone. */
  libraries?: number;
  nativeLibraries?: readonly string[];
  /** Seconds of one processor for one architecture, of a native library and of the app. */
  nativeCost?: number;
  appCost?: number;
  architectures?: readonly string[];
  /** How many times as long the start takes: 3 if Gradle and the plug-ins are downloaded. */
  slowStart?: number;
  /** How many times as much the app's own Kotlin and Java and its bundle are. */
  appSize?: number;
  /** Whether the app is shrunk with R8. */
  minified?: boolean;
  /** Whether the build is for development: no bundle, no lint. */
  debug?: boolean;
  /** Whether a task is printed when it begins, as one is that prints something itself. */
  printedAtStart?: boolean;
  processors?: number;
  /** In front of each line: `[RUN_GRADLEW] `, `[12:00:00]: ▸ `. */
  prefix?: string;
}

interface Task {
  name: string;
  /** Seconds of one processor. */
  cost: number;
  /** How many processors it can use. */
  width: number;
  after: Task[];
  startedAt?: number;
  endedAt?: number;
  left: number;
}

const ALL_ARCHITECTURES = ['arm64-v8a', 'armeabi-v7a', 'x86', 'x86_64'];
const NATIVE = ['expo-modules-core', 'react-native-worklets', 'react-native-reanimated', 'react-native-screens'];
const RESOURCES = [
  'preReleaseBuild',
  'generateReleaseResValues',
  'generateReleaseResources',
  'packageReleaseResources',
  'parseReleaseLocalResources',
  'generateReleaseRFile',
  'javaPreCompileRelease',
  'writeReleaseAarMetadata',
  'extractDeepLinksRelease',
  'processReleaseManifest',
  'compileReleaseLibraryResources',
  'mergeReleaseShaders',
  'generateReleaseAssets',
  'mergeReleaseAssets',
  'extractProguardFiles',
  'prepareLintJarForPublish',
];
const ENDINGS = [
  'bundleLibCompileToJarRelease',
  'bundleLibRuntimeToJarRelease',
  'processReleaseJavaRes',
  'createFullJarRelease',
  'extractReleaseAnnotations',
  'mergeReleaseGeneratedProguardFiles',
  'mergeReleaseConsumerProguardFiles',
  'mergeReleaseJavaResource',
  'syncReleaseLibJars',
  'bundleReleaseLocalLintAar',
  'generateReleaseLintModel',
];

export function gradleLog(shape: GradleShape = {}): TimedLine[] {
  const { processors = 4, printedAtStart = false, prefix = '' } = shape;
  const tasks = plan(shape);
  const seconds = run(tasks, processors);
  const told = (task: Task) => (printedAtStart ? task.startedAt! : task.endedAt!);
  const lines = [
    { atMs: 500, text: 'Welcome to Gradle 8.14.3!' },
    { atMs: 2_000, text: 'Starting a Gradle Daemon (subsequent builds will be faster)' },
    ...tasks
      .toSorted((a, b) => told(a) - told(b))
      .map((task) => ({ atMs: told(task) * 1_000, text: `> Task ${task.name}` })),
    { atMs: seconds * 1_000, text: `BUILD SUCCESSFUL in ${Math.floor(seconds / 60)}m ${Math.floor(seconds % 60)}s` },
  ];
  return lines.map(({ atMs, text }) => ({ atMs, text: prefix + text }));
}

/** Builds of all sorts: large and small, on slow and fast machines, four of ten without C++. */
export function randomGradleShapes(count: number): GradleShape[] {
  const next = random(7);
  const between = (low: number, high: number) => low + next() * (high - low);
  const oneOf = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
  return Array.from({ length: count }, (_, index) => {
    const native = next() < 0.6;
    const debug = next() < 0.3;
    return {
      seed: 100 + index,
      libraries: Math.round(between(4, 54)),
      processors: oneOf([2, 3, 4, 6, 8, 10]),
      slowStart: between(0.5, 3.5),
      appSize: between(0.5, 3.5),
      debug,
      minified: !debug && next() < 0.3,
      architectures: ALL_ARCHITECTURES.slice(0, oneOf([1, 2, 4])),
      nativeLibraries: native ? NATIVE.slice(0, oneOf([0, 1, 2, 3, 4])) : [],
      nativeCost: between(30, 230),
      appCost: native && next() < 0.8 ? between(150, 850) : 0,
    };
  });
}

function plan({
  seed = 1,
  libraries = 20,
  nativeLibraries = NATIVE,
  nativeCost = 120,
  appCost = 560,
  architectures = ALL_ARCHITECTURES,
  slowStart = 1,
  appSize = 1,
  minified = false,
  debug = false,
}: GradleShape): Task[] {
  const next = random(seed);
  const vary = () => 0.7 + 0.6 * next();
  const tasks: Task[] = [];
  const add = (releaseName: string, cost: number, after: (Task | undefined)[], width = 1): Task => {
    const name = debug ? releaseName.replace(/Release|RelWithDebInfo/, 'Debug') : releaseName;
    const seconds = cost * vary();
    const task = { name, cost: seconds, width, after: after.filter((one) => one !== undefined), left: seconds };
    tasks.push(task);
    return task;
  };
  const chain = (module: string, names: readonly string[], cost: number, first: Task): Task =>
    names.reduce((before, name) => add(`:${module}:${name}`, cost, [before]), first);
  /** One architecture after the other, as the plug-in for Android does it. */
  const native = (module: string, cost: number, after: Task[]): Task => {
    let before = after;
    for (const abi of architectures) {
      const configured = add(`:${module}:configureCMakeRelWithDebInfo[${abi}]`, 8, before);
      before = [add(`:${module}:buildCMakeRelWithDebInfo[${abi}]`, cost, [configured], 16)];
    }
    return chain(module, ['mergeReleaseJniLibFolders', 'mergeReleaseNativeLibs'], 0.3, before[0]!);
  };

  const daemon = add(':gradle-plugin:settings-plugin:pluginDescriptors', 25 * slowStart, []);
  let configured = daemon;
  for (const plugin of [
    'gradle-plugin:shared',
    'gradle-plugin:settings-plugin',
    'expo-gradle-plugin',
    'gradle-plugin:react',
  ])
    for (const [name, cost] of [
      ['checkKotlin', 0.1],
      ['compileKotlin', 7],
      ['compileJava', 0.2],
      ['jar', 0.2],
    ] as const)
      configured = add(`:${plugin}:${name}`, cost, [configured]);
  configured = add(
    appCost > 0 ? ':app:generateAutolinkingNewArchitectureFiles' : ':app:generateAutolinkingPackageList',
    12,
    [configured],
  );

  const compiled: Task[] = [];
  const packaged: Task[] = [];
  const names = Array.from({ length: libraries }, (_, index) => `lantern-wick-${index}`);
  for (const module of [...names, ...nativeLibraries]) {
    const codegen = add(`:${module}:generateCodegenSchemaFromJavaScript`, 1.5, [configured]);
    const preBuild = add(`:${module}:preBuild`, 0.05, [
      add(`:${module}:generateCodegenArtifactsFromSchema`, 1, [codegen]),
    ]);
    const resources = chain(module, RESOURCES, 0.06, preBuild);
    const kotlin = add(`:${module}:compileReleaseKotlin`, 7, [resources]);
    const java = add(`:${module}:compileReleaseJavaWithJavac`, 2, [kotlin]);
    compiled.push(java);
    const ending = chain(module, ENDINGS, 0.08, java);
    packaged.push(debug ? ending : add(`:${module}:lintVitalAnalyzeRelease`, 5, [ending]));
    if (nativeLibraries.includes(module)) packaged.push(native(module, nativeCost, [preBuild]));
  }

  const appPreBuild = add(':app:preBuild', 0.1, [configured]);
  const bundle = debug ? undefined : add(':app:createBundleReleaseJsAndAssets', 60 * appSize, [appPreBuild], 2);
  const appResources = chain('app', RESOURCES, 0.3, appPreBuild);
  const appNative =
    appCost > 0 ? native('app', appCost, [appResources]) : add(':app:mergeReleaseNativeLibs', 0.3, [appResources]);
  const kotlin = add(':app:compileReleaseKotlin', 8 * appSize, compiled);
  const java = add(':app:compileReleaseJavaWithJavac', 4 * appSize, [kotlin]);
  const dexed = minified
    ? [add(':app:minifyReleaseWithR8', 180, [java], 3)]
    : [add(':app:mergeExtDexRelease', 25, [java], 2), add(':app:dexBuilderRelease', 10 * appSize, [java])];
  const dex = minified ? dexed[0] : add(':app:mergeDexRelease', 8, dexed);
  const lint = debug
    ? undefined
    : add(':app:lintVitalReportRelease', 2, [add(':app:lintVitalAnalyzeRelease', 25, [java, ...packaged])]);
  const stripped = add(':app:stripReleaseDebugSymbols', 8, [appNative, ...packaged]);
  add(':app:packageRelease', 12, [bundle, dex, lint, stripped, appResources]);
  return tasks;
}

/** Runs the tasks until all have ended. Returns how many seconds it took. */
function run(tasks: Task[], processors: number): number {
  const STEP = 0.25;
  const waiting = new Set(tasks);
  const running = new Set<Task>();
  let now = 0;
  while (waiting.size > 0 || running.size > 0) {
    for (const task of waiting) {
      if (running.size >= processors) break;
      if (!task.after.every(({ endedAt }) => endedAt !== undefined)) continue;
      task.startedAt = now;
      waiting.delete(task);
      running.add(task);
    }
    const wanted = [...running].reduce((sum, { width }) => sum + width, 0);
    const rate = Math.min(1, processors / wanted);
    for (const task of running) {
      task.left -= STEP * rate * task.width;
      if (task.left > 0) continue;
      task.endedAt = now + STEP;
      running.delete(task);
    }
    now += STEP;
  }
  return now;
}
