/** Says how long a request may let a kept VM and a link live. In milliseconds. */
import { DAY_MS } from './units.ts';

/** The shortest and the longest time for which a request may ask to keep the VM of a failed attempt. */
export const KEEP_VM_MIN_MS = 60_000;
export const KEEP_VM_MAX_MS = DAY_MS;

/** The shortest and the longest life of a link that a request may ask for. */
export const LINK_LIFE_MIN_MS = 60_000;
export const LINK_LIFE_MAX_MS = 365 * DAY_MS;
