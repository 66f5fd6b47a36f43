/** Says lengths of time in words. Pure. */

/** `1 h 05 min`, `2 min 03 s`, `4 s`. */
export function span(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (number: number) => String(number).padStart(2, '0');
  if (hours > 0) return `${hours} h ${two(minutes)} min`;
  return minutes > 0 ? `${minutes} min ${two(seconds)} s` : `${seconds} s`;
}

export const timeLeft = (untilMs: number, nowMs = Date.now()): string => span(untilMs - nowMs);
