/**
 * Remembers what the plan of this Mac's disk keeps, as a person has accepted it in `expo-worker base-image`.
 *
 * Owns `disk-plan.json` in the state folder.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';

const KeptByPlan = z.object({ keepPulled: z.boolean(), keepPrevious: z.boolean() });
export type KeptByPlan = z.infer<typeof KeptByPlan>;

const pathIn = (stateDir: string) => join(stateDir, 'disk-plan.json');

/** Without a plan, or with one that cannot be read, everything is kept. */
export function readKeptByPlan(stateDir: string): KeptByPlan {
  try {
    return KeptByPlan.parse(JSON.parse(readFileSync(pathIn(stateDir), 'utf8')));
  } catch {
    return { keepPulled: true, keepPrevious: true };
  }
}

export function writeKeptByPlan(stateDir: string, { keepPulled, keepPrevious }: KeptByPlan): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  writeFileAtomic.sync(pathIn(stateDir), `${JSON.stringify({ keepPulled, keepPrevious })}\n`, { mode: 0o600 });
}
