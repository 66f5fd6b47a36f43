/** Writes bytes and durations in the units in which checks show them. Pure. */

export const GB_BYTES = 1e9;

export const inGb = (bytes: number): string => `${(bytes / GB_BYTES).toFixed(1)} GB`;

export const inSeconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
