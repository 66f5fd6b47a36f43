/** Writes moments, milliseconds since 1970, as ISO 8601. Pure. */

export const iso = (at: number): string => new Date(at).toISOString();

export const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at));
