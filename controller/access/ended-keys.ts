/**
 * Marks in R2 the keys that ended before their time, so that an open stream may look for the mark every few
 * seconds without asking D1.
 *
 * Invariant: a key with a mark opens nothing. The mark stays for ever.
 *
 * Owns the R2 objects below `revoked/`.
 */

const markOf = (keyId: string): string => `revoked/${keyId}`;

/** Repeat it until it succeeds. */
export async function markEnded(env: Env, keyIds: readonly string[]): Promise<void> {
  for (const id of keyIds) await env.BLOBS.put(markOf(id), new Uint8Array());
}

export const isMarkedEnded = async (env: Env, keyId: string): Promise<boolean> =>
  (await env.BLOBS.head(markOf(keyId))) !== null;
