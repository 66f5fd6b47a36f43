/**
 * Writes rows as the release before this one did, which still answers for a moment during a deployment, and
 * again after a rollback. Delete this file with the columns that the schema says leave their tables.
 */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { buildInputs, builds } from '../../../controller/schema/index.ts';
import { bytesOf, db } from './rows.ts';

/** `v1.<base64url of 12 random bytes and the AES-256-GCM output>`, bound to the id of the build. */
export async function sealedByFormerRelease(inputsKey: string, buildId: string, inputs: object): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const digest = await crypto.subtle.digest('SHA-256', bytesOf(inputsKey));
  const key = await crypto.subtle.importKey('raw', digest, 'AES-GCM', false, ['encrypt']);
  const gcm = { name: 'AES-GCM', iv, additionalData: bytesOf(buildId) };
  const sealed = await crypto.subtle.encrypt(gcm, key, bytesOf(JSON.stringify(inputs)));
  const joined = new Uint8Array([...iv, ...new Uint8Array(sealed)]);
  return `v1.${btoa(String.fromCharCode(...joined))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')}`;
}

/** Puts a build that this release has made into the form of the former one. */
export async function asFormerRelease(buildId: string, inputs: object | null): Promise<void> {
  const sealed = inputs && (await sealedByFormerRelease(env.INPUTS_KEY, buildId, inputs));
  await db.delete(buildInputs).where(eq(buildInputs.buildId, buildId));
  await db.update(builds).set({ hasInputs: null, inputs: sealed }).where(eq(builds.id, buildId));
}

/** The retention of the former release, for one build: it knows no table that this release has added. */
export async function releasedByFormerRelease(buildId: string): Promise<void> {
  await env.DB.prepare('UPDATE builds SET source_blob = NULL, inputs = NULL WHERE id = ?1').bind(buildId).run();
}

/** The removal of an old build by the retention of the former release. */
export async function removedByFormerRelease(buildId: string): Promise<void> {
  const tables = [
    ['artifacts', 'build_id'],
    ['events', 'build_id'],
    ['attempts', 'build_id'],
    ['builds', 'id'],
  ];
  await env.DB.batch(
    tables.map(([table, column]) => env.DB.prepare(`DELETE FROM ${table} WHERE ${column} = ?1`).bind(buildId)),
  );
}
