/**
 * Makes the input of Expo's local build engine: the job and its metadata, as eas-cli makes them. A test
 * compares both, and lists the differences.
 *
 * Invariant: the engine accepts the job. If the engine would refuse it, or fail after minutes, makeJob
 * reports a problem.
 */
import type { AppConfig } from './app-config.ts';
import type { BuildProfile } from './build-profile.ts';
import { isSigned } from './engine.ts';
import { named } from './formats/text.ts';
import { type Found, found, problem } from './found.ts';
import type { NativeTarget } from './native-target.ts';
import type { Workflow } from './workflow.ts';

/** The engine gets the job in this variable. */
const JOB_VARIABLE = 'EAS_LOCAL_BUILD_PLUGIN_INPUT';
/**
 * The limit is for macOS, which allows 1 MiB for all arguments and variables of a process. Five targets with
 * the profiles of a store need more than 128 KiB, the limit of Linux for one variable. On Linux the guest
 * scripts refuse such a job.
 */
export const JOB_MAX_BYTES = 700_000;
/** The guest scripts replace these texts. The limit leaves room for the longer values. */
const ARCHIVE_MARK = '@ARCHIVE@';
export const NUMBER_MARK = '@NUMBER@';
const ROOM_FOR_MARKS_BYTES = 1024;

export interface IosCredentials {
  [target: string]: {
    provisioningProfileBase64: string;
    distributionCertificate: { dataBase64: string; password: string };
  };
}
export interface AndroidCredentials {
  keystore: { dataBase64: string; keystorePassword: string; keyAlias: string; keyPassword?: string };
}

export interface JobInputs {
  profile: BuildProfile;
  workflow: Workflow;
  /** `.`, or a path such as apps/mobile. */
  appRoot: string;
  app: AppConfig;
  /** Null on Android, and while the target is not known. */
  target: Pick<NativeTarget, 'scheme'> | null;
  /** {@link NUMBER_MARK} if the VM asks for it. Null if the project's own number stays. */
  buildNumber: string | null;
  credentials: IosCredentials | AndroidCredentials | null;
  /** Values that the engine does not print. */
  environmentSecrets: readonly { name: string; value: string }[];
  /** The commit of the source, if it is known. */
  gitCommitHash?: string | null;
  packageManager?: 'npm' | 'yarn' | 'pnpm' | 'bun';
}

export interface EngineInput {
  job: Record<string, unknown>;
  metadata: Record<string, unknown>;
}

export function makeJob(inputs: JobInputs): Found<EngineInput> {
  const { profile, workflow, appRoot, app, target, buildNumber, credentials, environmentSecrets } = inputs;
  const isIos = profile.platform === 'ios';
  const signed = isSigned(profile);
  if (isIos && signed && credentials === null && profile.config === undefined)
    return problem(
      `Profile ${named(profile.name)} builds for iOS devices, and the build has no signing files. Add credentials.json or secret files, or set \`ios.simulator\` to true.`,
    );
  if (!isIos && buildNumber !== null && buildNumber !== NUMBER_MARK && !/^\d+$/.test(buildNumber))
    return problem(
      `The build number ${named(buildNumber)} is no whole number, which Android needs. Give a whole number.`,
    );

  const { channel, developmentClient, prebuildCommand, uploadSourceMaps, environment, config } = profile;
  const shared = {
    platform: profile.platform,
    type: workflow,
    mode: config === undefined ? 'build' : 'custom',
    ...(config !== undefined && { customBuildConfig: { path: `.eas/build/${config}` } }),
    triggeredBy: 'EAS_CLI',
    projectArchive: { type: 'PATH', path: ARCHIVE_MARK },
    projectRootDirectory: appRoot,
    cache: { disabled: false, paths: [], ...profile.cache, clear: false },
    updates: { channel },
    developmentClient,
    applicationArchivePath: profile.applicationArchivePath ?? profile.artifactPath,
    buildArtifactPaths: profile.buildArtifactPaths,
    environment,
    experimental: { prebuildCommand, uploadSourceMaps },
    // The engine requires both and uses neither.
    appId: 'none',
    initiatingUserId: 'none',
  };
  const tools = {
    image: profile.image,
    node: profile.node,
    corepack: profile.corepack,
    pnpm: profile.pnpm,
    bun: profile.bun,
    yarn: profile.yarn,
  };
  const secrets = {
    // Without signing, eas-cli sends an empty object for iOS, and nothing for Android.
    ...((isIos || (signed && credentials !== null)) && { buildCredentials: (signed && credentials) || {} }),
    ...(environmentSecrets.length > 0 && {
      environmentSecrets: environmentSecrets.map(({ name, value }) => ({ name, value, type: 'string' })),
    }),
  };
  const job = isIos
    ? {
        ...shared,
        builderEnvironment: {
          ...tools,
          bundler: profile.bundler,
          cocoapods: profile.cocoapods,
          fastlane: profile.fastlane,
          env: profile.env ?? {},
        },
        secrets,
        simulator: profile.simulator,
        scheme: target?.scheme,
        buildConfiguration: profile.buildConfiguration,
        ...(buildNumber !== null && { version: { buildNumber } }),
      }
    : {
        ...shared,
        builderEnvironment: { ...tools, ndk: profile.ndk, env: profile.env ?? {} },
        secrets,
        gradleCommand: profile.gradleCommand,
        buildType:
          profile.buildType ?? (!profile.gradleCommand && profile.distribution === 'internal' ? 'apk' : undefined),
        ...(buildNumber !== null && { version: { versionCode: buildNumber } }),
      };
  // JSON leaves out fields without a value, so the engine does not get them either.
  const input = JSON.parse(JSON.stringify({ job, metadata: metadataOf(inputs) })) as EngineInput;
  const bytes =
    4 * Math.ceil(Buffer.byteLength(JSON.stringify(input)) / 3) + JOB_VARIABLE.length + 2 + ROOM_FOR_MARKS_BYTES;
  if (bytes > JOB_MAX_BYTES)
    return problem(
      `The job of profile ${named(profile.name)} has ${Math.ceil(bytes / 1024)} KiB, and Expo's engine takes at most ${Math.floor(JOB_MAX_BYTES / 1024)} KiB. ${whatIsLarge(credentials, profile.env, environmentSecrets)}`,
    );
  return found(input, notesOf(inputs, signed, app));
}

function whatIsLarge(credentials: unknown, env: unknown, secrets: unknown): string {
  const bytesOf = (one: unknown) => Buffer.byteLength(JSON.stringify(one ?? null));
  const ofSigning = bytesOf(credentials);
  const ofVariables = bytesOf(env) + bytesOf(secrets);
  return ofSigning > ofVariables
    ? `Its certificates and profiles have ${Math.ceil(ofSigning / 1024)} KiB of them: give only those of the targets that this build signs.`
    : `Its variables have ${Math.ceil(ofVariables / 1024)} KiB of them: give long values as secret files, or shorten \`env\`.`;
}

/** The engine reads a few of these fields. The others are for readers of the log. */
function metadataOf({ profile, workflow, app, buildNumber, gitCommitHash, packageManager }: JobInputs) {
  const isDebug =
    profile.platform === 'ios'
      ? profile.buildConfiguration === 'Debug'
      : profile.gradleCommand === ':app:assembleDebug';
  return {
    appVersion: app.version ?? undefined,
    appBuildVersion: buildNumber ?? app.buildNumber?.toString(),
    workflow,
    credentialsSource: profile.credentialsSource,
    sdkVersion: app.sdkVersion ?? undefined,
    reactNativeVersion: app.reactNativeVersion ?? undefined,
    distribution: profile.distribution,
    appName: app.kind === 'static' ? app.name : undefined,
    appIdentifier: app.appId ?? undefined,
    buildProfile: profile.name,
    // The engine refuses a job with any other form of it.
    gitCommitHash: /^[0-9a-f]{40}$/i.test(gitCommitHash ?? '') ? gitCommitHash : undefined,
    iosEnterpriseProvisioning: profile.enterpriseProvisioning,
    developmentClient: profile.developmentClient ?? isDebug,
    requiredPackageManager: packageManager,
    customNodeVersion: profile.node,
    simulator: profile.platform === 'ios' && (profile.simulator ?? false),
  };
}

/** Notes for builds whose number may not reach the app. */
function notesOf({ profile, buildNumber }: JobInputs, signed: boolean, app: AppConfig): string[] {
  if (buildNumber === null) return [];
  const number = buildNumber === NUMBER_MARK ? 'The build number' : `The build number ${buildNumber}`;
  const keeps = `keeps ${app.buildNumber === null ? "the project's own number" : `the project's own number ${app.buildNumber}`}`;
  if (profile.config !== undefined)
    return [`${number} reaches the app only if the steps of \`.eas/build/${profile.config}\` set it.`];
  if (profile.platform === 'ios' && profile.simulator)
    return [`${number} does not reach the app: a simulator build ${keeps}. It is in EAS_BUILD_IOS_BUILD_NUMBER.`];
  if (profile.platform === 'ios' && !signed)
    return [`${number} does not reach the app: a build without signing ${keeps}.`];
  return [];
}
