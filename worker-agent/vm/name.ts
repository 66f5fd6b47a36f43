/**
 * Makes the name of an attempt's VM, and reads it back. Pure.
 *
 * Invariant: a name is known before its VM exists, and it tells worker, build and attempt.
 */
export interface VmKey {
  workerId: string;
  buildId: string;
  attempt: number;
}

const PREFIX = 'tartbeat-';

export const vmNameOf = ({ workerId, buildId, attempt }: VmKey): string => `${PREFIX}${workerId}-${buildId}-${attempt}`;

/**
 * Null for a name that this worker's agent does not give. Ids may contain dashes, so the worker must be
 * known.
 */
export function parseVmName(name: string, workerId: string): VmKey | null {
  const start = `${PREFIX}${workerId}-`;
  if (!name.startsWith(start)) return null;
  const match = /^([A-Za-z0-9._-]+)-([1-9]\d{0,6})$/.exec(name.slice(start.length));
  return match && { workerId, buildId: match[1]!, attempt: Number(match[2]) };
}
