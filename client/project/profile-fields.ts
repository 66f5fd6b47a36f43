/**
 * Lists every field of eas.json, and how a build of Tartbeat uses it. The table in docs/expo.md is made from
 * this list.
 *
 * Invariant: it has exactly the fields that `@expo/eas-json` knows. A test compares them.
 */

export const FATES = {
  used: 'The build does what the field says, and so does the submission for fields of `submit`.',
  mapped: 'Tartbeat does it in a way of its own.',
  ignored: 'It changes nothing. The build log says so, or `expo-build submit` for a field of `submit`.',
  refused: 'The build or the submission is refused, with a sentence that names the fix.',
} as const;
export type Fate = keyof typeof FATES;

export interface FieldFate {
  fate: Fate;
  /** One or two sentences. For an ignored field: why. */
  says: string;
  /** How other values of the field are treated, and why. */
  but?: string;
}

const used = (says: string, but?: string): FieldFate => ({ fate: 'used', says, ...(but && { but }) });
const mapped = (says: string, but?: string): FieldFate => ({ fate: 'mapped', says, ...(but && { but }) });
const ignored = (says: string): FieldFate => ({ fate: 'ignored', says });

const installed = (what: string) => used(`This version of ${what} is installed before the build begins.`);
const NO_CACHE = "Expo's local engine has no cache.";
const NO_UPDATE = 'It concerns `eas update`, and a build publishes no update.';
const CREATES_APP = 'It serves to create the app in App Store Connect, which is done there by hand, once.';
const VARIABLE = 'It may name a variable, such as `$NAME`.';

/** Fields that a profile, its `ios` and its `android` may all have. */
export const COMMON_FIELDS = {
  resourceClass: ignored('A VM has the processors and the memory that its Mac gives it.'),
  env: used('The variables of the build. With the engine `plugin`, a secret of the same name wins.'),
  node: installed('Node'),
  corepack: used('The manager that `packageManager` in package.json names is installed, with or without it.'),
  pnpm: installed('pnpm'),
  bun: installed('bun'),
  yarn: installed('yarn'),
  expoCli: ignored('Expo has retired its global CLI. The one in the project is used.'),
  credentialsSource: used(
    "`local`: credentials.json, or the build's secret files. `remote`: Expo's server, which needs EXPO_TOKEN.",
    'If a build brings signing files of its own, these are used with `remote` too, without a token. With `environment`, they are not.',
  ),
  distribution: used(
    '`internal` makes an .apk on Android. On iOS, the provisioning profile must be of a kind that fits.',
  ),
  releaseChannel: ignored('Expo has retired release channels. Use `channel`.'),
  channel: used('The channel of `eas update` that the app listens to.'),
  developmentClient: used('Builds a development client.'),
  prebuildCommand: used('Replaces the arguments of `expo prebuild`.'),
  autoIncrement: mapped(
    "With `cli.appVersionSource: remote`, Tartbeat's own counter gives the next number.",
    '`version` is ignored, and with `local` it is ignored altogether: Tartbeat does not change files of the project.',
  ),
  buildArtifactPaths: used('These files become artifacts too, also after a failure.'),
  uploadSourceMaps: ignored("Expo's local engine uploads nothing. Source maps become artifacts."),
  config: used('A custom build: the engine runs `.eas/build/NAME`.', 'A missing file is refused.'),
  withoutCredentials: used('Builds without signing.', "Refused for iOS devices, because Expo's engine cannot do it."),
  environment: mapped(
    "Only Expo's server has the variables of an environment. So the engine `eas` is used, which needs EXPO_TOKEN.",
  ),
  cache: ignored(NO_CACHE),
} as const satisfies Record<string, FieldFate>;

/** Fields of `ios` and of `android`. */
const PLATFORM_FIELDS = {
  image: used(
    "`latest`, `auto`, `default`, `sdk-N` and the name of the Mac's image all mean the Mac's image.",
    'Every other name is refused.',
  ),
  artifactPath: used('Where the app is found. The older name of `applicationArchivePath`.'),
  applicationArchivePath: used('Where the app is found, if it is not in the usual place.'),
} as const satisfies Record<string, FieldFate>;

export const IOS_FIELDS = {
  ...PLATFORM_FIELDS,
  bundler: installed('Bundler'),
  fastlane: installed('fastlane'),
  cocoapods: installed('CocoaPods'),
  enterpriseProvisioning: used('The provisioning profile must be of this kind. It is checked before the build begins.'),
  simulator: used('Builds for the simulator, without signing.'),
  scheme: used('The scheme of a project with an `ios` folder.', 'Without that folder it is ignored, as EAS does.'),
  buildConfiguration: used('The Xcode configuration, such as `Release`.'),
} as const satisfies Record<string, FieldFate>;

export const ANDROID_FIELDS = {
  ...PLATFORM_FIELDS,
  ndk: ignored('Gradle installs the NDK that the project names in build.gradle.'),
  gradleCommand: used('The task that Gradle runs.'),
  buildType: used('`apk` or `app-bundle`.'),
  keystoreName: mapped("Which of Expo's keystores the engine `eas` takes.", 'With a keystore of the build: ignored.'),
} as const satisfies Record<string, FieldFate>;

/** Fields of a profile itself. */
export const PROFILE_FIELDS = {
  extends: used('The profile that this one adds to. At most five profiles in a row.'),
  ios: used('Fields for iOS. They win over those beside it.'),
  android: used('Fields for Android. They win over those beside it.'),
} as const satisfies Record<string, FieldFate>;

export const CACHE_FIELDS = {
  disabled: ignored(NO_CACHE),
  key: ignored(NO_CACHE),
  cacheDefaultPaths: ignored(NO_CACHE),
  customPaths: ignored(NO_CACHE),
  paths: ignored(NO_CACHE),
} as const satisfies Record<string, FieldFate>;

export const CLI_FIELDS = {
  version: ignored(
    "It concerns eas-cli. Only the engine `eas` starts it, and then it is the image's one, whatever its version.",
  ),
  requireCommit: ignored('A build takes the source as it was submitted.'),
  appVersionSource: mapped("`remote`: Tartbeat's own counter of build numbers. `local`: the project's own number."),
  promptToConfigurePushNotifications: ignored('A build asks no questions.'),
  updateAssetHostOverride: ignored(NO_UPDATE),
  updateManifestHostOverride: ignored(NO_UPDATE),
} as const satisfies Record<string, FieldFate>;

export const SUBMIT_FIELDS = {
  extends: used('At most five profiles may extend each other in a row.'),
  ios: used('What App Store Connect is asked for. See below.'),
  android: used('What Google Play is asked for. See below.'),
} as const satisfies Record<string, FieldFate>;

const keyPath = mapped(
  `The file is read once, when the store key is set. A build never has it. ${VARIABLE}`,
  'A path that leads out of the project is refused, also by a link.',
);

export const SUBMIT_IOS_FIELDS = {
  ascApiKeyPath: keyPath,
  ascApiKeyId: used(
    `It must be the key id of the stored key. ${VARIABLE}`,
    'Then its value must have 10 letters and digits. Otherwise a project could send any secret of who submits it.',
  ),
  ascApiKeyIssuerId: mapped(`It is a part of the stored key. ${VARIABLE}`),
  appleId: ignored('Nobody signs in with an Apple Account: the stored key does.'),
  ascAppId: used('The app in App Store Connect. Without it, the app is looked up by its bundle id.'),
  appleTeamId: ignored('The stored key belongs to one team.'),
  sku: ignored(CREATES_APP),
  language: mapped(
    'The language of `whatToTest`, if it is a locale such as `en-US`.',
    'Another value changes nothing.',
  ),
  companyName: ignored(CREATES_APP),
  appName: ignored(CREATES_APP),
  bundleIdentifier: ignored('The app is the one that the artifact says.'),
  metadataPath: ignored('It belongs to `eas metadata`, which changes the page of the app in the store.'),
  groups: used('Internal groups of testers, by their names.'),
} as const satisfies Record<string, FieldFate>;

export const SUBMIT_ANDROID_FIELDS = {
  serviceAccountKeyPath: keyPath,
  track: used('The track that gets the release.'),
  releaseStatus: used('The status that the release gets there.'),
  changesNotSentForReview: used('Google then waits until somebody sends the changes for review in Play Console.'),
  applicationId: ignored('The app is the one that the artifact says.'),
  rollout: used('The fraction of users that gets the release.', 'Google takes no 0, so it is refused.'),
} as const satisfies Record<string, FieldFate>;

export const TOP_FIELDS = {
  $schema: ignored('Editors use it. The log does not mention it.'),
  cli: used('See below.'),
  build: used('The profiles. See below.'),
  submit: used('The submission after the build, if the request asks for one: [stores.md](stores.md).'),
} as const satisfies Record<string, FieldFate>;

/** The lists by where their fields stand, in the order of the document. */
export const FIELD_LISTS: readonly { where: string; fields: Readonly<Record<string, FieldFate>> }[] = [
  { where: '', fields: TOP_FIELDS },
  { where: 'build.PROFILE', fields: { ...PROFILE_FIELDS, ...COMMON_FIELDS } },
  { where: 'build.PROFILE.cache', fields: CACHE_FIELDS },
  { where: 'build.PROFILE.ios', fields: IOS_FIELDS },
  { where: 'build.PROFILE.android', fields: ANDROID_FIELDS },
  { where: 'cli', fields: CLI_FIELDS },
  { where: 'submit.PROFILE', fields: SUBMIT_FIELDS },
  { where: 'submit.PROFILE.ios', fields: SUBMIT_IOS_FIELDS },
  { where: 'submit.PROFILE.android', fields: SUBMIT_ANDROID_FIELDS },
];
