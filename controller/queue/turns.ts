/**
 * Computes how many builds come before a queued one, if no active build ended meanwhile. Pure.
 *
 * Invariant: it follows the order of pick.ts. Each build that starts makes its project one build busier, so
 * projects of one priority take turns.
 */

/** The builds of a project that wait at the same place: the trusted or the untrusted ones. */
export interface Part {
  /** How many of them are active on the whole farm. */
  active: number;
  /** How many of them wait here with a rank before that of the build. */
  before: number;
  /** How many of them wait here with the same rank. */
  level: number;
  /** When the oldest of those was queued. */
  oldestAt: number;
  /** How many may be active. Null without a limit. */
  maxActive: number | null;
}

/** The build: its part's active builds, how many of the part are ahead of it, and when it was queued. */
export interface Turn {
  active: number;
  ahead: number;
  queuedAt: number;
}

/** How many builds of another part come before the build: its first ones. */
export function aheadOf({ active, ahead, queuedAt }: Turn, part: Part): number {
  // The project of the build is this busy at its turn. Another project comes first while it is less busy.
  const busy = active + ahead;
  const turns = busy - (part.active + part.before) + (part.oldestAt < queuedAt ? 1 : 0);
  const first = part.before + Math.min(part.level, Math.max(0, turns));
  const room = part.maxActive === null ? first : Math.max(0, part.maxActive - part.active);
  return Math.min(first, room);
}
