/**
 * Finds where each value of a whole profile stands in eas.json. Pure.
 *
 * Invariant: the values are those of resolveProfile, for every file. A test compares both.
 */
import type { EasJson } from '../project/eas-json.ts';
import { ANDROID_FIELDS, COMMON_FIELDS, IOS_FIELDS } from '../project/profile-fields.ts';

export interface FieldOrigin {
  /** As in a profile: `node`, `env.API_URL`, `cache.key`. */
  field: string;
  value: unknown;
  /** The profile in which the value stands. */
  profile: string;
  /** Its place in eas.json, such as `build.base.ios.simulator`. */
  path: string;
}

/** `chain`: the profile, the one that it extends, and so on. */
export function originsOf(
  { profiles }: Pick<EasJson, 'profiles'>,
  platform: 'ios' | 'android',
  chain: readonly string[],
): FieldOrigin[] {
  // A section of the platform wins over all other fields. Among sections, and among fields, the nearer
  // profile wins.
  const places: { fields: Readonly<Record<string, unknown>>; profile: string; path: string }[] = [
    ...chain.map((profile) => ({
      fields: { ...profiles.get(profile)?.[platform] },
      profile,
      path: `build.${profile}.${platform}`,
    })),
    ...chain.map((profile) => ({ fields: { ...profiles.get(profile) }, profile, path: `build.${profile}` })),
  ];
  const names = Object.keys({ ...COMMON_FIELDS, ...(platform === 'ios' ? IOS_FIELDS : ANDROID_FIELDS) });
  return names.flatMap((name): FieldOrigin[] => {
    if (name === 'env') return variablesIn(places);
    const place = places.find(({ fields }) => fields[name] !== undefined);
    if (place === undefined) return [];
    const { profile, path } = place;
    const value = place.fields[name];
    const origin = (field: string, one: unknown) => ({ field, value: one, profile, path: `${path}.${field}` });
    if (name !== 'cache') return [origin(name, value)];
    return Object.entries(value as object).flatMap(([key, one]) =>
      one === undefined ? [] : [origin(`cache.${key}`, one)],
    );
  });
}

/** Variables are merged one by one. Null removes one. */
function variablesIn(
  places: readonly { fields: Readonly<Record<string, unknown>>; profile: string; path: string }[],
): FieldOrigin[] {
  const found = new Map<string, FieldOrigin>();
  for (const { fields, profile, path } of places)
    for (const [name, value] of Object.entries((fields.env ?? {}) as Record<string, string | null>))
      if (!found.has(name)) found.set(name, { field: `env.${name}`, value, profile, path: `${path}.env.${name}` });
  return [...found.values()].filter(({ value }) => value !== null);
}
