/**
 * Turns a submit profile of eas.json into the options of a submission.
 *
 * Invariant: it reads no private key. It returns the paths of keys unchanged, for the command that sets the
 * store key (key-file.ts).
 *
 * Invariant: the only value of a variable that readSubmitOptions returns or shows is a key id in Apple's
 * form. eas.json may come from a stranger, so it could name the variable of any secret.
 */
import { SubmitOptions } from '#contract';
import { readEasJsonValue } from '../eas-json.ts';
import { listed, named } from '../formats/text.ts';
import { type Found, found, problem } from '../found.ts';
import { type FieldFate, SUBMIT_ANDROID_FIELDS, SUBMIT_FIELDS, SUBMIT_IOS_FIELDS } from '../profile-fields.ts';
import type { ProjectFiles } from '../project-files.ts';
import {
  type AndroidSubmitProfile,
  type IosSubmitProfile,
  type Platform,
  resolveSubmitProfile,
  type Variables,
} from './submit-profile.ts';

export interface SubmitPlan {
  /** For `submit` in a request for a build, or for a submission of its own. */
  options: SubmitOptions;
  /** The facts for the store key. A build never gets them. */
  storeKey: {
    /** The path in eas.json, relative to the folder of the app. */
    path: string | null;
    issuerId: string | null;
  };
}

/**
 * For the command that sets a store key. Each note is a whole line on an ignored field of the profile.
 *
 * @param profileName left out: `production` if there is one, else the defaults
 * @param variables where `$NAME` in one of four fields finds its value
 */
export async function readSubmitProfile(
  files: ProjectFiles,
  appRoot: string,
  platform: Platform,
  profileName: string | undefined,
  variables: Variables,
): Promise<Found<SubmitPlan>> {
  return await readPlan(files, appRoot, platform, profileName, variables, []);
}

/** The form of a key id of App Store Connect. Secrets are longer. */
const KEY_ID = /^[0-9A-Z]{10}$/;
/** Fields whose variables are looked up only to set a store key. */
const OF_STORE_KEY = ['ascApiKeyPath', 'ascApiKeyIssuerId', 'serviceAccountKeyPath'];

/** As {@link readSubmitProfile}, for a command that submits to a store, and sets no key. */
export async function readSubmitOptions(
  files: ProjectFiles,
  appRoot: string,
  platform: Platform,
  profileName: string | undefined,
  environment: Variables,
): Promise<Found<SubmitOptions>> {
  const variables = Object.fromEntries(
    // Windows ignores the case of a name.
    Object.entries(environment).filter(([name, value = '']) => KEY_ID.test(value) && !/^EXPO_BUILD_/i.test(name)),
  );
  const read = await readPlan(files, appRoot, platform, profileName, variables, OF_STORE_KEY);
  return read.ok ? found(read.value.options, read.notes) : read;
}

async function readPlan(
  files: ProjectFiles,
  appRoot: string,
  platform: Platform,
  profileName: string | undefined,
  variables: Variables,
  unread: readonly string[],
): Promise<Found<SubmitPlan>> {
  const read = await readEasJsonValue(files, appRoot);
  if (!read.ok) return read;
  const { file, value } = read.value;
  const submit = (value as { submit?: unknown } | null)?.submit;
  const resolved = resolveSubmitProfile(file, submit, platform, profileName, variables, unread);
  if (!resolved.ok) return resolved;
  const plan =
    platform === 'ios' ? ofIos(resolved.value as IosSubmitProfile) : ofAndroid(resolved.value as AndroidSubmitProfile);
  const options = SubmitOptions.safeParse(plan.options);
  if (!options.success) {
    const { path, message } = options.error.issues[0]!;
    const field = [platform, ...path].join('.');
    return problem(
      `${named(`submit.${profileName ?? 'production'}.${field}`)} in ${file} ${message}. Correct it there.`,
    );
  }
  const notes = [...ignoredIn(file, platform, resolved.value, profileName), ...unknownIn(file, submit)];
  return found({ options: options.data, storeKey: plan.storeKey }, notes);
}

/** The form in which App Store Connect names the language of a text for testers. */
const LOCALE = /^[a-z]{2,3}(-[A-Za-z]{2,4})?$/;
export const isLocale = (language: string): boolean => LOCALE.test(language);

const ofIos = ({ ascAppId, ascApiKeyId, groups, language, ascApiKeyPath, ascApiKeyIssuerId }: IosSubmitProfile) => ({
  options: {
    store: 'app-store-connect' as const,
    ...(ascAppId !== undefined && { ascAppId }),
    ...(ascApiKeyId !== undefined && { ascApiKeyId }),
    ...(groups !== undefined && { groups }),
    ...(isLocale(language) && { locale: language }),
  },
  storeKey: { path: ascApiKeyPath ?? null, issuerId: ascApiKeyIssuerId ?? null },
});

const ofAndroid = (profile: AndroidSubmitProfile) => {
  const { track, releaseStatus, changesNotSentForReview, rollout, serviceAccountKeyPath } = profile;
  return {
    options: {
      store: 'google-play' as const,
      ...{ track, releaseStatus, changesNotSentForReview },
      ...(rollout !== undefined && { rollout }),
    },
    storeKey: { path: serviceAccountKeyPath ?? null, issuerId: null },
  };
};

const FIELDS: Record<Platform, Readonly<Record<string, FieldFate>>> = {
  ios: SUBMIT_IOS_FIELDS,
  android: SUBMIT_ANDROID_FIELDS,
};

const ignoredIn = (file: string, platform: Platform, profile: object, name = 'production'): string[] =>
  Object.entries(FIELDS[platform]).flatMap(([field, { fate, says }]) =>
    fate === 'ignored' && Object.hasOwn(profile, field)
      ? [`\`${field}\` of submit profile ${named(name)} in ${file} is ignored. ${says}`]
      : [],
  );

/** One line for all unknown fields. */
function unknownIn(file: string, submit: unknown): string[] {
  const unknown: string[] = [];
  const look = (at: string, within: unknown, known: Readonly<Record<string, FieldFate>>) => {
    for (const key of Object.keys(within ?? {})) if (!Object.hasOwn(known, key)) unknown.push(`${at}.${key}`);
  };
  for (const [name, one] of Object.entries((submit ?? {}) as Record<string, { ios?: unknown; android?: unknown }>)) {
    look(`submit.${name}`, one, SUBMIT_FIELDS);
    look(`submit.${name}.ios`, one.ios, SUBMIT_IOS_FIELDS);
    look(`submit.${name}.android`, one.android, SUBMIT_ANDROID_FIELDS);
  }
  return unknown.length === 0 ? [] : [`${file} has fields that are not known and change nothing: ${listed(unknown)}.`];
}
