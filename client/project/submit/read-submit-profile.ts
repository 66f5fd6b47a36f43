/**
 * Reads a submit profile of eas.json as what is asked of a store.
 *
 * Invariant: nothing of a private key is read here. The paths of keys are answered as they are, for whoever
 * sets the store key (key-file.ts).
 *
 * Invariant: readSubmitOptions answers and says nothing of a variable but a key id of Apple's form. eas.json
 * may come from a stranger, so it could name the variable of any secret.
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
  /** What the store key is made of. A build never has any of it. */
  storeKey: {
    /** As eas.json has it, relative to the folder of the app. */
    path: string | null;
    issuerId: string | null;
  };
}

/**
 * For whoever sets a store key. The notes are whole lines on what of the profile is ignored.
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

/** As App Store Connect makes the id of a key. Secrets are longer. */
const KEY_ID = /^[0-9A-Z]{10}$/;
/** Only whoever sets a store key looks up the variables of these. */
const OF_STORE_KEY = ['ascApiKeyPath', 'ascApiKeyIssuerId', 'serviceAccountKeyPath'];

/** As {@link readSubmitProfile}, for a command that asks a store for something, and sets no key. */
export async function readSubmitOptions(
  files: ProjectFiles,
  appRoot: string,
  platform: Platform,
  profileName: string | undefined,
  environment: Variables,
): Promise<Found<SubmitOptions>> {
  const variables = Object.fromEntries(
    // Windows does not tell the case of a name.
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

/** As App Store Connect names a language that testers are told something in. */
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

/** One line for fields that nobody knows. */
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
