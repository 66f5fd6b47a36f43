/** Writes moments, milliseconds since 1970, as ISO 8601, and tells when an alarm is lost. Pure. */

export const iso = (at: number): string => new Date(at).toISOString();

export const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at));

/**
 * In maintenance the platform may run an alarm up to about a minute late. After that we take it as lost,
 * although the platform still answers its time. We have seen such an alarm hang for days.
 */
const ALARM_LOST_MS = 60_000;

/** Whether an alarm that was set for `alarmAt`, and has not run, will never run. */
export const isAlarmLost = (alarmAt: number, now: number): boolean => now - alarmAt > ALARM_LOST_MS;
