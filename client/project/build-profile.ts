/**
 * Completes a profile of eas.json: with the profiles that it extends, the fields of its platform, and the
 * defaults.
 *
 * Invariant: the result is the one of `@expo/eas-json`. A test gives both the same random files.
 */
import type { AndroidFields, EasJson, FileProfile, IosFields } from './eas-json.ts';
import { listed, named } from './formats/text.ts';
import { type Found, found, problem } from './found.ts';
import { ANDROID_FIELDS, COMMON_FIELDS, type FieldFate, IOS_FIELDS } from './profile-fields.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

type Platform = 'ios' | 'android';
type Section = Partial<Omit<IosFields, 'autoIncrement'>> &
  Partial<Omit<AndroidFields, 'autoIncrement' | 'resourceClass'>> & {
    autoIncrement?: boolean | 'version' | 'buildNumber' | 'versionCode';
  };

/** A whole profile. The fields have the names that eas.json has. */
export interface BuildProfile extends Omit<Section, 'env' | 'credentialsSource' | 'distribution'> {
  name: string;
  platform: Platform;
  env?: Record<string, string>;
  credentialsSource: 'local' | 'remote';
  distribution: 'store' | 'internal';
}

/** Names of images that always mean the Mac's own image. */
const IMAGE = /^(?:latest|auto|default|sdk-\d{1,4})$/;
/** Whether every Mac has an image of this name. */
export const isAnyImage = (name: string): boolean => IMAGE.test(name);

/** The most profiles that may extend each other in a row, as in EAS. */
const EXTENDS_MAX = 5;

/** `imageNames`: the names of the image that the VM is made from. Null: not known yet. */
export function resolveProfile(
  easJson: EasJson,
  platform: Platform,
  name: string,
  { imageNames = [] }: { imageNames?: readonly string[] | null } = {},
): Found<BuildProfile> {
  const chain = chainOf(easJson, name);
  if (!chain.ok) return chain;
  const { file, profiles } = easJson;
  let merged: FileProfile = {};
  // The nearer profile wins.
  for (const one of chain.value) merged = merge(withoutMissing(profiles.get(one)!), merged);
  const { extends: _, ios, android, ...base } = merged;
  const section = (platform === 'ios' ? ios : android) ?? {};
  const { env, ...fields } = merge<Section>(base, section as Section);
  const whole: BuildProfile = {
    credentialsSource: 'remote',
    distribution: 'store',
    ...fields,
    ...(env && {
      env: Object.fromEntries(Object.entries(env).filter((one): one is [string, string] => one[1] !== null)),
    }),
    name,
    platform,
  };
  const refusal = refusalOf(whole, file, imageNames);
  return refusal === null ? found(whole, notesOf(whole, file)) : problem(refusal);
}

/** The profile itself, the one that it extends, and so on. */
export function chainOf({ file, profiles }: EasJson, name: string): Found<string[]> {
  if (!profiles.has(name)) {
    const there = profiles.size === 0 ? 'It has no profiles' : `It has ${listed([...profiles.keys()])}`;
    return problem(`${file} has no build profile ${named(name)}. ${there}. Name one of them, or add it.`);
  }
  const chain: string[] = [];
  for (let next: string | undefined = name; next !== undefined; next = profiles.get(next)?.extends) {
    const one = profiles.get(next);
    if (one === undefined)
      return problem(
        `Profile ${named(chain.at(-1)!)} in ${file} extends ${named(next)}, which does not exist. Correct the name, or add it.`,
      );
    if (chain.includes(next))
      return problem(
        `Profile ${named(next)} in ${file} extends itself: ${listed([...chain, next])}. Break the circle.`,
      );
    chain.push(next);
    if (chain.length > EXTENDS_MAX)
      return problem(
        `Profile ${named(name)} in ${file} extends ${listed(chain.slice(1))} in a row. At most ${EXTENDS_MAX} profiles may follow each other: join some.`,
      );
  }
  return found(chain);
}

/** Refuses a custom build whose file is missing. EAS also checks that before the build. */
export function checkCustomBuild(files: ProjectFiles, appRoot: string, profile: BuildProfile): Found<null> {
  if (profile.config === undefined) return found(null);
  const folder = pathIn(appRoot, '.eas/build');
  const path = folder === null ? null : pathIn(folder, profile.config);
  if (path !== null && files.paths.has(path)) return found(null);
  return problem(
    `Profile ${named(profile.name)} has \`config\`, but ${named(path ?? profile.config)} is not in the source. Add the file, or remove \`config\` from the profile.`,
  );
}

interface Mergeable {
  env?: Record<string, string | null>;
  ios?: object;
  android?: object;
}

/** `update` wins. The fields within `env`, `ios` and `android` are merged. */
function merge<Fields extends Mergeable>(base: Fields, update: Fields): Fields {
  const result: Fields = { ...base, ...update };
  if (base.env && update.env) result.env = { ...base.env, ...update.env };
  if (base.ios && update.ios) result.ios = merge(base.ios, update.ios);
  if (base.android && update.android) result.android = merge(base.android, update.android);
  return result;
}

/**
 * Drops fields that have no value because they are null in the file. They must not hide those of a parent.
 */
function withoutMissing<Fields extends object>(fields: Fields): Fields {
  const there = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    there.map(([key, value]) => [key, key === 'ios' || key === 'android' ? withoutMissing(value) : value]),
  ) as Fields;
}

function refusalOf(profile: BuildProfile, file: string, imageNames: readonly string[] | null): string | null {
  const { name, platform, image } = profile;
  if (image !== undefined && imageNames !== null && !isAnyImage(image) && !imageNames.includes(image))
    return `Profile ${named(name)} in ${file} asks for the image ${named(image)}, which this Mac does not have. Remove \`${platform}.image\`, or write ${listed(['latest', 'auto', 'default', 'sdk-N', ...imageNames])}.`;
  if (platform === 'ios' && profile.withoutCredentials && !profile.simulator && profile.config === undefined)
    return `Profile ${named(name)} in ${file} has \`withoutCredentials\` for iOS devices, which Expo's engine cannot build. Set \`ios.simulator\` to true, or remove \`withoutCredentials\`.`;
  return null;
}

function notesOf(profile: BuildProfile, file: string): string[] {
  const fates: Record<string, FieldFate> = {
    ...COMMON_FIELDS,
    ...(profile.platform === 'ios' ? IOS_FIELDS : ANDROID_FIELDS),
  };
  return Object.entries(fates).flatMap(([field, { fate, says }]) =>
    fate === 'ignored' && profile[field as keyof BuildProfile] !== undefined
      ? [`\`${field}\` of profile ${named(profile.name)} in ${file} is ignored. ${says}`]
      : [],
  );
}
