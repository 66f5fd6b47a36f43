/**
 * Completes a submit profile of eas.json: with the profiles that it extends, the defaults, and the values of
 * the variables that it names.
 *
 * Invariant: the result is the one of `@expo/eas-json`, and so is the choice between a result and a refusal.
 * A test gives both the same random files. Three things differ on purpose: an unknown field is a note, the
 * check of an Apple ID is only rough, because no code uses it, and an issuer id has dashes.
 *
 * Invariant: no sentence shows the value of a variable. eas.json may come from a stranger, so it could name
 * the variable of any secret.
 */
import { z } from 'zod';
import { listed, named, shown } from '../formats/text.ts';
import { type Found, found, problem } from '../found.ts';

export type Platform = 'ios' | 'android';

const text = z.string({ error: 'must be a text in quotes' }).min(1, 'must not be empty');
const flag = z.preprocess(
  (value) => (typeof value === 'string' && /^(true|false)$/i.test(value) ? value.toLowerCase() === 'true' : value),
  z.boolean({ error: 'must be true or false' }),
);
const FRACTION = 'must be a number from 0 to 1';
const NUMBER = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i;
const fraction = z.preprocess(
  (value) => (typeof value === 'string' && NUMBER.test(value) ? Number(value) : value),
  z.number({ error: FRACTION }).min(0, FRACTION).max(1, FRACTION),
);

const ios = {
  ascApiKeyPath: text,
  ascApiKeyId: text,
  ascApiKeyIssuerId: text,
  appleId: text,
  ascAppId: text,
  appleTeamId: text,
  sku: text,
  language: text,
  companyName: text,
  appName: text,
  bundleIdentifier: text,
  metadataPath: text,
  groups: z.array(text, { error: 'must be a list of texts, such as ["QA"]' }),
};

const android = {
  serviceAccountKeyPath: text,
  track: text,
  releaseStatus: z.enum(['completed', 'draft', 'halted', 'inProgress'], {
    error: 'must be "completed" or "draft" or "halted" or "inProgress"',
  }),
  changesNotSentForReview: flag,
  applicationId: text,
  rollout: fraction,
};

/** Expo's rules for the texts after their variables are replaced. */
const iosValues = {
  ...ios,
  ascApiKeyId: text
    .regex(/^[\dA-Z]+$/, 'must be upper-case letters and digits, such as AB32CZE81F')
    .max(30, 'must have at most 30 characters'),
  ascApiKeyIssuerId: text.regex(
    /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i,
    'must be a UUID, as App Store Connect shows it above its list of keys',
  ),
  appleId: text.regex(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'must be an e-mail address'),
  ascAppId: text
    .regex(/^\d+$/, 'must be the numeric Apple ID of the app, such as 1234567890')
    .max(30, 'must have at most 30 digits'),
  appleTeamId: text.regex(/^[\dA-Z]{10}$/, 'must be 10 upper-case letters and digits'),
};

const rolloutFits = ({ releaseStatus, rollout }: { releaseStatus?: string; rollout?: number }) =>
  (releaseStatus === 'inProgress') === (rollout !== undefined);
const ROLLOUT = { error: 'has to have `rollout` with `releaseStatus: "inProgress"`, and with no other' };
const OBJECT = { error: 'must be an object' };

const IosSection = z.object(ios, OBJECT).partial();
const AndroidSection = z.object(android, OBJECT).partial().refine(rolloutFits, ROLLOUT);
const Profiles = z
  .record(z.string(), z.object({ extends: text, ios: IosSection, android: AndroidSection }, OBJECT).partial(), {
    error: 'must be an object of profiles',
  })
  .refine((profiles) => !Object.hasOwn(profiles, ''), { error: 'has a profile without a name' });

const WHOLE = {
  ios: z.object(iosValues).partial(),
  android: AndroidSection,
};

export type IosSubmitProfile = z.infer<typeof WHOLE.ios> & { language: string };
export type AndroidSubmitProfile = z.infer<typeof AndroidSection> & {
  track: string;
  releaseStatus: 'completed' | 'draft' | 'halted' | 'inProgress';
  changesNotSentForReview: boolean;
};
interface SubmitProfiles {
  ios: IosSubmitProfile;
  android: AndroidSubmitProfile;
}

const DEFAULTS: SubmitProfiles = {
  ios: { language: 'en-US' },
  android: { track: 'internal', releaseStatus: 'completed', changesNotSentForReview: false },
};

/** Only these may name variables. */
const MAY_NAME_VARIABLES = {
  ios: ['ascApiKeyPath', 'ascApiKeyId', 'ascApiKeyIssuerId'],
  android: ['serviceAccountKeyPath'],
} as const;

/** The profile that counts if none is named. It may be missing. */
const USUAL = 'production';
const EXTENDS_MAX = 5;

type Fields = Record<string, unknown>;
export type Variables = Readonly<Record<string, string | undefined>>;
type FileProfiles = ReadonlyMap<string, z.infer<typeof Profiles>[string]>;

/**
 * @param submit the part of eas.json
 * @param variables where `$NAME` in a field finds its value
 * @param unread fields that the caller does not use. If one of them names a variable, it counts as missing
 */
export function resolveSubmitProfile<P extends Platform>(
  file: string,
  submit: unknown,
  platform: P,
  name: string | undefined,
  variables: Variables,
  unread: readonly string[] = [],
): Found<SubmitProfiles[P]> {
  const parsed = Profiles.optional().safeParse(submit);
  if (!parsed.success) return problem(sentenceOf(file, 'submit', submit, parsed.error.issues[0]!));
  const profiles: FileProfiles = new Map(Object.entries(parsed.data ?? {}));
  if (name === undefined && !profiles.has(USUAL)) return found(DEFAULTS[platform]);
  const merged = mergedSection(file, profiles, platform, name ?? USUAL);
  if (!merged.ok) return merged;
  const written: Fields = { ...DEFAULTS[platform], ...merged.value };
  for (const field of unread) if (namesVariable(written[field])) delete written[field];
  const checked = WHOLE[platform].safeParse(withVariables(written, MAY_NAME_VARIABLES[platform], variables));
  if (!checked.success)
    return problem(sentenceOf(file, `submit.${name ?? USUAL}.${platform}`, written, checked.error.issues[0]!));
  return found(checked.data as SubmitProfiles[P]);
}

/** The nearer profile wins. */
function mergedSection(file: string, profiles: FileProfiles, platform: Platform, name: string): Found<Fields> {
  if (!profiles.has(name)) {
    const there = profiles.size === 0 ? 'It has no submit profiles' : `It has ${listed([...profiles.keys()])}`;
    return problem(`${file} has no submit profile ${named(name)}. ${there}. Name one of them, or add it.`);
  }
  const chain: string[] = [];
  let merged: Fields = {};
  for (let next: string | undefined = name; next !== undefined; next = profiles.get(next)?.extends) {
    const one = profiles.get(next);
    if (one === undefined)
      return problem(
        `Submit profile ${named(chain.at(-1)!)} in ${file} extends ${named(next)}, which does not exist. Correct the name, or add it.`,
      );
    chain.push(next);
    if (chain.length > EXTENDS_MAX)
      return problem(
        `Submit profile ${named(name)} in ${file} extends ${listed(chain.slice(1))} in a row. At most ${EXTENDS_MAX} profiles may follow each other, and none may extend itself: join some.`,
      );
    merged = { ...one[platform], ...merged };
  }
  return found(merged);
}

function withVariables(fields: Fields, names: readonly string[], variables: Variables): Fields {
  const evaluated = names.flatMap((name) =>
    typeof fields[name] === 'string' ? [[name, substituted(fields[name], variables)] as const] : [],
  );
  return { ...fields, ...Object.fromEntries(evaluated) };
}

const namesVariable = (value: unknown): boolean => typeof value === 'string' && value.includes('$');

/** `$NAME`, `${NAME}` and `${NAME:-default}`. A backslash before the `$` keeps it. */
function substituted(value: string, variables: Variables): string {
  return value.replace(
    /(\\*)\$(\{)?([a-z0-9_]+)(:-[^}]+)?(\})?/gi,
    (whole: string, escapes: string, start?: string, name = '', usual?: string, end?: string) => {
      if (escapes.length % 2 === 1) return whole.slice(1);
      const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
      return escapes + (given || (start && usual && end ? substituted(usual.slice(2), variables) : ''));
    },
  );
}

/** @param whole the value in eas.json */
function sentenceOf(file: string, at: string, whole: unknown, issue: z.core.$ZodIssue): string {
  let value = whole;
  for (const key of issue.path) value = (value as Record<PropertyKey, unknown> | null)?.[key];
  const where = named([at, ...issue.path].join('.'));
  const fields: readonly string[] = [...MAY_NAME_VARIABLES.ios, ...MAY_NAME_VARIABLES.android];
  const mayName = fields.includes(String(issue.path.at(-1)));
  if (mayName && namesVariable(value))
    return `${where} in ${file} ${issue.message}, but the value of ${shown(value)} here does not fit. Set the variable, or correct the field.`;
  const is = issue.message.startsWith('must') ? `, but is ${shown(value)}` : '';
  return `${where} in ${file} ${issue.message}${is}. Correct it there.`;
}
