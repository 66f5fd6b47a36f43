/** Gives a test file the controller that it shares with others. */
import { inject } from 'vitest';
import { z } from 'zod';

const START_MS = 150_000;

const Shared = z.object({
  url: z.string(),
  secrets: z.object({ ADMIN_KEY: z.string(), TOKEN_KEYS: z.string(), INPUTS_KEY: z.string() }),
});

export type SharedController = z.infer<typeof Shared>;

/**
 * Starts it if no other file has done so. Files use it at the same time. So a file takes names of its own for
 * its projects, pools and Macs, and expects nothing of lists of all builds, projects or Macs.
 */
export async function sharedController(): Promise<SharedController> {
  const answer = await fetch(inject('sharedController'), { signal: AbortSignal.timeout(START_MS) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the shared controller was not started: ${text}`);
  return Shared.parse(JSON.parse(text));
}
