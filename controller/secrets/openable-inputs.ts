/**
 * Tells which queued builds have inputs that cannot be opened, because INPUTS_KEY lacks the key that sealed
 * them. Such a build waits, because every worker would fail on its inputs. Reads only.
 */
import { and, eq, notInArray, type SQL, sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { buildInputs, secrets } from '../schema/index.ts';
import { knownKeyIds } from './sealing-keys.ts';

interface BuildWithInputs {
  id: string;
  projectId: string;
  pool: string;
  trusted: boolean;
  usesSecrets: boolean;
}

/** A condition on rows of `builds`. */
export async function inputsCanBeOpened(env: Env): Promise<SQL> {
  const known = sql`(SELECT value FROM json_each(${JSON.stringify(await knownKeyIds(env))}))`;
  return sql`(
    NOT EXISTS (SELECT 1 FROM build_inputs WHERE build_id = builds.id AND key_id NOT IN ${known})
    AND NOT (builds.uses_secrets AND builds.trusted AND EXISTS (
      SELECT 1 FROM secrets
      WHERE secrets.project_id = builds.project_id AND secrets.pool = builds.pool AND key_id NOT IN ${known})))`;
}

/** Names the key that the queued build waits for. Null if its inputs can be opened. */
export async function keyWaitedFor(env: Env, build: BuildWithInputs): Promise<string | null> {
  const { id, projectId, pool } = build;
  const known = await knownKeyIds(env);
  const db = openDatabase(env);
  const own = await db
    .select({ keyId: buildInputs.keyId })
    .from(buildInputs)
    .where(and(eq(buildInputs.buildId, id), notInArray(buildInputs.keyId, known)))
    .get();
  if (own) return waits(own.keyId, 'its environment and secret files');
  if (!build.usesSecrets || !build.trusted) return null;
  const stored = await db
    .select({ keyId: secrets.keyId, name: secrets.name })
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), eq(secrets.pool, pool), notInArray(secrets.keyId, known)))
    .limit(1)
    .get();
  return stored
    ? `${waits(stored.keyId, `the stored secret ${stored.name}`)}, or somebody set or delete that secret`
    : null;
}

const waits = (keyId: string, what: string): string =>
  `the key ${keyId} of the secret INPUTS_KEY, which sealed ${what}: an admin must put that key back into the list`;
