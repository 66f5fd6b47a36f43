/**
 * Reads eas.json and reports the first problem in it.
 *
 * Invariant: it accepts and refuses the values that `@expo/eas-json` accepts and refuses. Two things differ
 * on purpose. An unknown field is a note, because a newer EAS may know it. The values of `submit` are not
 * checked here, because no build depends on them, and submit/submit-profile.ts reads them.
 */
import { z } from 'zod';
import { readJson } from './formats/json.ts';
import { nearestTo } from './formats/nearest.ts';
import { listed, named, shown } from './formats/text.ts';
import { type Found, found, problem } from './found.ts';
import {
  ANDROID_FIELDS,
  CACHE_FIELDS,
  CLI_FIELDS,
  COMMON_FIELDS,
  type FieldFate,
  IOS_FIELDS,
  PROFILE_FIELDS,
  SUBMIT_ANDROID_FIELDS,
  SUBMIT_FIELDS,
  SUBMIT_IOS_FIELDS,
  TOP_FIELDS,
} from './profile-fields.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

const LIMITS = { maxBytes: 256 * 1024, maxDepth: 20 };
const SEMVER_MAX = 256;
/** MAJOR.MINOR.PATCH with its optional suffixes, as on semver.org. */
const SEMVER =
  /^v?(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;

const text = z.string({ error: 'must be a text in quotes' }).min(1, 'must not be empty');
const oneOf = <const Values extends readonly [string, ...string[]]>(...values: Values) =>
  z.enum(values, { error: `must be ${values.map((value) => `"${value}"`).join(' or ')}` });
const flag = z.preprocess(
  (value) => (typeof value === 'string' && /^(true|false)$/i.test(value) ? value.toLowerCase() === 'true' : value),
  z.boolean({ error: 'must be true or false' }),
);
const texts = z.array(text, { error: 'must be a list of texts, such as ["dist/*.txt"]' });
/** Null counts as a missing field. */
const version = z.preprocess(
  (value) => (value === null ? undefined : value),
  z
    .string({ error: 'must be a whole version in quotes, such as "22.13.0"' })
    .refine(
      (value) => value.length <= SEMVER_MAX && SEMVER.test(value.trim()),
      'must be a whole version in quotes, such as "22.13.0"',
    )
    .optional(),
);
const channel = z
  .string({ error: 'must be a text in quotes' })
  .regex(
    /^[a-z\d][a-z\d._-]*$/,
    'must begin with a lower-case letter or a digit, and have only those, ".", "_" and "-"',
  );
const ENVIRONMENT = 'must be 3 to 100 lower-case letters, digits, "-" and "_"';
/** Null removes a variable that an extended profile has. */
const env = z
  .record(z.string(), text.regex(/^[^\0]*$/, 'must not have a zero byte').nullable(), {
    error: 'must be an object, such as { "API_URL": "https://example.com" }',
  })
  .refine((variables) => !Object.hasOwn(variables, ''), { error: 'has a variable without a name' });

const cache = z
  .object(
    {
      disabled: flag,
      key: text.max(128, 'must have at most 128 characters'),
      cacheDefaultPaths: flag,
      customPaths: texts,
      paths: texts,
    } satisfies Fields<typeof CACHE_FIELDS>,
    { error: 'must be an object' },
  )
  .partial()
  .refine(({ customPaths, paths }) => customPaths === undefined || paths === undefined, {
    error: 'has both `customPaths` and `paths`. Keep `paths`',
  })
  // `customPaths` is the older name of `paths`.
  .transform(({ customPaths, ...rest }) => (customPaths === undefined ? rest : { ...rest, paths: customPaths }));

type Fields<List> = Record<keyof List, z.ZodType>;
const classes = ['default', 'medium', 'large'] as const;

const common = {
  resourceClass: oneOf(...classes),
  env,
  node: version,
  corepack: flag,
  pnpm: version,
  bun: version,
  yarn: version,
  expoCli: version,
  credentialsSource: oneOf('local', 'remote'),
  distribution: oneOf('store', 'internal'),
  releaseChannel: channel,
  channel,
  developmentClient: flag,
  prebuildCommand: text,
  autoIncrement: flag,
  buildArtifactPaths: texts,
  uploadSourceMaps: flag,
  config: text,
  withoutCredentials: flag,
  environment: z.string({ error: 'must be a text in quotes' }).regex(/^[a-z0-9_-]{3,100}$/, ENVIRONMENT),
  cache,
} satisfies Fields<typeof COMMON_FIELDS>;

const platform = { image: text, artifactPath: text, applicationArchivePath: text };
const counted = <const Value extends string>(own: Value) =>
  z.union([flag, z.enum(['version', own])], { error: `must be true, false, "version" or "${own}"` });
const onlyOnePath = [
  (one: { artifactPath?: string; applicationArchivePath?: string }) =>
    one.artifactPath === undefined || one.applicationArchivePath === undefined,
  { error: 'has both `artifactPath` and `applicationArchivePath`. Keep `applicationArchivePath`' },
] as const;

const ios = z
  .object(
    {
      ...common,
      ...platform,
      resourceClass: oneOf(...classes, 'm1-medium', 'm-medium', 'm-large'),
      bundler: version,
      fastlane: version,
      cocoapods: version,
      enterpriseProvisioning: oneOf('adhoc', 'universal'),
      simulator: flag,
      scheme: text,
      buildConfiguration: text,
      autoIncrement: counted('buildNumber'),
    } satisfies Fields<typeof IOS_FIELDS & typeof COMMON_FIELDS>,
    { error: 'must be an object' },
  )
  .partial()
  .refine(...onlyOnePath);

const android = z
  .object(
    {
      ...common,
      ...platform,
      ndk: version,
      gradleCommand: text,
      buildType: oneOf('apk', 'app-bundle'),
      keystoreName: text,
      autoIncrement: counted('versionCode'),
    } satisfies Fields<typeof ANDROID_FIELDS & typeof COMMON_FIELDS>,
    { error: 'must be an object' },
  )
  .partial()
  .refine(...onlyOnePath)
  .refine((one) => one.keystoreName === undefined || one.credentialsSource === 'remote', {
    error: 'has `keystoreName`, which needs `credentialsSource: "remote"` beside it',
  });

const profile = z
  .object({ ...common, extends: text, ios, android } satisfies Fields<typeof COMMON_FIELDS & typeof PROFILE_FIELDS>, {
    error: 'must be an object',
  })
  .partial();

const cli = z
  .object(
    {
      version: text,
      requireCommit: flag,
      appVersionSource: oneOf('local', 'remote'),
      promptToConfigurePushNotifications: flag,
      updateAssetHostOverride: text,
      updateManifestHostOverride: text,
    } satisfies Fields<typeof CLI_FIELDS>,
    { error: 'must be an object' },
  )
  .partial();

const EasJsonFile = z.object(
  {
    cli: cli.optional(),
    build: z
      .record(z.string(), profile, { error: 'must be an object of profiles' })
      .refine((profiles) => !Object.hasOwn(profiles, ''), { error: 'has a profile without a name' })
      .optional(),
  },
  { error: 'must be an object, such as { "build": { "production": {} } }' },
);

export type IosFields = z.infer<typeof ios>;
export type AndroidFields = z.infer<typeof android>;
/** A profile as the file has it, without the profiles that it extends. */
export type FileProfile = z.infer<typeof profile>;

export interface EasJson {
  /** Its path in the source, for messages. */
  file: string;
  cli: z.infer<typeof cli>;
  profiles: ReadonlyMap<string, FileProfile>;
}

export async function readEasJson(files: ProjectFiles, appRoot: string): Promise<Found<EasJson>> {
  const json = await readEasJsonValue(files, appRoot);
  if (!json.ok) return json;
  const { file, value } = json.value;
  const parsed = EasJsonFile.safeParse(value);
  if (!parsed.success) return problem(sentenceOf(file, value, parsed.error.issues[0]!));
  const { build = {}, cli = {} } = parsed.data;
  return found({ file, cli, profiles: new Map(Object.entries(build)) }, notesOf(file, value));
}

/** The JSON of the file, not checked. */
export async function readEasJsonValue(
  files: ProjectFiles,
  appRoot: string,
): Promise<Found<{ file: string; value: unknown }>> {
  const file = pathIn(appRoot, 'eas.json');
  if (file === null) return problem(`The app's folder ${named(appRoot)} lies outside of the source.`);
  const json = await readJson(files, file, LIMITS);
  if (json === null)
    return problem(
      `${file} is not in the source, so there is no profile. Create it with \`expo-build init --eas-json\` or \`eas build:configure\`.`,
    );
  return json.ok ? found({ file, value: json.value }) : json;
}

function sentenceOf(file: string, whole: unknown, issue: z.core.$ZodIssue): string {
  let value = whole;
  for (const key of issue.path) value = (value as Record<PropertyKey, unknown> | null)?.[key];
  const where = issue.path.length === 0 ? file : `${named(issue.path.join('.'))} in ${file}`;
  const is = issue.message.startsWith('must') ? `, but is ${shown(value)}` : '';
  return `${where} ${issue.message}${is}. Correct it there.`;
}

/** One line for each ignored field of `cli`, and one for all unknown fields. */
function notesOf(file: string, value: unknown): string[] {
  const unknown: string[] = [];
  const meant: string[] = [];
  const look = (at: string, within: unknown, known: Record<string, FieldFate>, elsewhere: Elsewhere = {}) => {
    for (const key of keysOf(within)) {
      if (Object.hasOwn(known, key)) continue;
      unknown.push(at === '' ? key : `${at}.${key}`);
      if (unknown.length > MEANT_MAX) continue;
      const nearest = nearestTo(key, [...Object.keys(known), ...Object.keys(elsewhere)]);
      if (nearest !== null) meant.push(`${named(elsewhere[nearest] ?? nearest)} may be meant by ${named(key)}.`);
    }
  };
  look('', value, TOP_FIELDS);
  const { cli, build, submit } = value as {
    cli?: unknown;
    build?: Record<string, Record<string, unknown>>;
    submit?: unknown;
  };
  look('cli', cli, CLI_FIELDS);
  for (const [name, one] of Object.entries(build ?? {})) {
    const at = `build.${name}`;
    look(at, one, { ...PROFILE_FIELDS, ...COMMON_FIELDS }, OF_PLATFORM);
    look(`${at}.cache`, one.cache, CACHE_FIELDS);
    for (const [section, fields] of [
      ['ios', IOS_FIELDS],
      ['android', ANDROID_FIELDS],
    ] as const) {
      look(`${at}.${section}`, one[section], { ...COMMON_FIELDS, ...fields });
      look(`${at}.${section}.cache`, (one[section] as { cache?: unknown } | undefined)?.cache, CACHE_FIELDS);
    }
  }
  for (const name of keysOf(submit)) {
    const at = `submit.${name}`;
    const one = (submit as Record<string, { ios?: unknown; android?: unknown } | null>)[name];
    look(at, one, SUBMIT_FIELDS);
    look(`${at}.ios`, one?.ios, SUBMIT_IOS_FIELDS);
    look(`${at}.android`, one?.android, SUBMIT_ANDROID_FIELDS);
  }
  const notes = keysOf(cli).flatMap((key) => {
    const fate: FieldFate | undefined = Object.hasOwn(CLI_FIELDS, key) ? CLI_FIELDS[key as 'version'] : undefined;
    return fate?.fate === 'ignored' ? [`\`cli.${key}\` in ${file} is ignored. ${fate.says}`] : [];
  });
  if (unknown.length > 0) notes.push([`${file} ${UNKNOWN}: ${listed(unknown)}.`, ...meant].join(' '));
  return notes;
}

const UNKNOWN = 'has fields that are not known and change nothing';
/** The most unknown fields for which a known name is suggested. */
const MEANT_MAX = 5;

/** The place where a field belongs, by its name. */
type Elsewhere = Record<string, string>;
const OF_PLATFORM: Elsewhere = Object.fromEntries([
  ...Object.keys(ANDROID_FIELDS).map((field) => [field, `android.${field}`]),
  ...Object.keys(IOS_FIELDS).map((field) => [field, `ios.${field}`]),
]);

/** The note on unknown fields, without the name of the file. Null: there are none. */
export function onUnknownFields({ file }: EasJson, notes: readonly string[]): string | null {
  const note = notes.find((one) => one.startsWith(`${file} ${UNKNOWN}`));
  return note === undefined ? null : note.slice(file.length + 1);
}

const keysOf = (value: unknown): string[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
