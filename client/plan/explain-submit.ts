/**
 * Says how a submission uses each field of a submit profile of eas.json.
 *
 * Invariant: it accepts and refuses the same profiles as readSubmitOptions, with the same sentences.
 */
import type { SubmitOptions } from '#contract';
import { readEasJsonValue } from '../project/eas-json.ts';
import { type FieldFate, SUBMIT_ANDROID_FIELDS, SUBMIT_IOS_FIELDS } from '../project/profile-fields.ts';
import type { ProjectFiles } from '../project/project-files.ts';
import { isLocale, readSubmitOptions } from '../project/submit/read-submit-profile.ts';
import type { ExplainedField } from './explain-build.ts';
import { general } from './field-fates.ts';

export interface SubmitExplanation {
  refusal: string | null;
  fields: ExplainedField[];
  /** The options of the submission, or null if the profile is refused. */
  options: SubmitOptions | null;
  notes: string[];
}

type Section = Readonly<Record<string, unknown>>;
type Profiles = Readonly<Record<string, { extends?: string; ios?: Section; android?: Section }>>;

const FIELDS: Record<'ios' | 'android', Readonly<Record<string, FieldFate>>> = {
  ios: SUBMIT_IOS_FIELDS,
  android: SUBMIT_ANDROID_FIELDS,
};

/** Takes the arguments of readSubmitOptions. */
export async function explainSubmit(
  files: ProjectFiles,
  appRoot: string,
  platform: 'ios' | 'android',
  profileName: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
): Promise<SubmitExplanation> {
  const read = await readSubmitOptions(files, appRoot, platform, profileName, variables);
  if (!read.ok) return { refusal: read.problem, fields: [], options: null, notes: [] };
  const file = await readEasJsonValue(files, appRoot);
  const whole = file.ok ? (file.value.value as { submit?: Profiles }) : {};
  const fields = new Map<string, ExplainedField>();
  const profiles = new Map(Object.entries(whole.submit ?? {}));
  for (let next = profileName ?? 'production'; profiles.has(next); next = profiles.get(next)!.extends ?? '')
    for (const [field, value] of Object.entries(profiles.get(next)![platform] ?? {}))
      if (Object.hasOwn(FIELDS[platform], field) && !fields.has(field))
        fields.set(field, {
          field,
          value,
          path: `submit.${next}.${platform}.${field}`,
          ...fateOf(platform, field, value),
        });
  return { refusal: null, fields: [...fields.values()], options: read.value, notes: read.notes };
}

function fateOf(platform: 'ios' | 'android', field: string, value: unknown) {
  if (field === 'language' && !(typeof value === 'string' && isLocale(value)))
    return { fate: 'ignored' as const, says: 'It is no locale such as `en-US`.' };
  return general(FIELDS[platform][field]!);
}
