/**
 * Reads the private inputs of a build: its environment variables and secret files.
 *
 * Invariant: a build that was given inputs never seems to have none. Once they are deleted, or no longer
 * open, the answer is a refusal with its own code.
 */
import { eq } from 'drizzle-orm';
import type { Inputs } from '#contract';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { buildInputs, builds } from '../schema/index.ts';
import { openInputs } from './inputs.ts';

/**
 * Stands in `builds.inputs` where the inputs are in `build_inputs`. The former release, which still answers
 * for a moment during a deployment, cannot open it and fails. Otherwise it would hand out a build without its
 * inputs.
 */
export const INPUTS_MOVED = 'moved to build_inputs';

/** The inputs of a build, null if it has none. Refused: `not_found`, `inputs_gone`, `inputs_key_missing`. */
export async function readInputs(env: Env, buildId: string): Promise<{ ok: true; inputs: Inputs | null } | Refusal> {
  const row = await openDatabase(env)
    .select({
      hasInputs: builds.hasInputs,
      sourceBlob: builds.sourceBlob,
      earlier: builds.inputs,
      sealed: buildInputs.sealed,
    })
    .from(builds)
    .leftJoin(buildInputs, eq(buildInputs.buildId, builds.id))
    .where(eq(builds.id, buildId))
    .get();
  if (!row) return refusal('not_found', `there is no build ${buildId}`);
  const sealed = row.sealed ?? (row.earlier === INPUTS_MOVED ? null : row.earlier);
  if (sealed !== null) return openInputs(env, buildId, sealed);
  // Rows of the former release do not say whether inputs were given, and lost them together with their
  // source.
  const had = row.hasInputs ?? (row.earlier !== null || (row.sourceBlob === null ? null : false));
  if (had === false) return { ok: true, inputs: null };
  const what =
    had === null
      ? `build ${buildId} may have had an environment and secret files, which are deleted with its source`
      : `the environment and secret files of build ${buildId} were deleted some days after its end`;
  return refusal('inputs_gone', `${what}. Submit the build anew with them.`);
}
