/**
 * Seals the private inputs of a build, and opens them again. Inputs of one build open for that build alone.
 */
import { Inputs } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { open, type Place, type Sealed, seal } from './sealing.ts';
import type { SealingEnv } from './sealing-keys.ts';

/** The former release seals and opens with the same words, so they do not change. */
export const placeOfInputs = (buildId: string): Place => ['build_inputs', buildId];

export const sealInputs = (env: SealingEnv, buildId: string, inputs: Inputs): Promise<Sealed> =>
  seal(env, placeOfInputs(buildId), JSON.stringify(inputs));

/**
 * Refused: `inputs_key_missing` while INPUTS_KEY lacks the key that sealed them; `inputs_gone` if they were
 * not sealed for this build, or altered.
 */
export async function openInputs(
  env: SealingEnv,
  buildId: string,
  sealed: string,
): Promise<{ ok: true; inputs: Inputs } | Refusal> {
  const opened = await open(env, placeOfInputs(buildId), sealed);
  if (opened.ok) return { ok: true, inputs: Inputs.parse(JSON.parse(opened.text)) };
  if (opened.why === 'key missing') return keyMissing(`the environment and secret files of build ${buildId}`, opened);
  return gone(buildId, WHY_GONE[opened.why]);
}

/** `what` is sealed with a key that the deployment does not have now. */
export const keyMissing = (what: string, { keyId }: { keyId: string }): Refusal =>
  refusal(
    'inputs_key_missing',
    `${what} cannot be opened without the key ${keyId}, which the secret INPUTS_KEY lacks. ` +
      'An admin must put that key back into the list, behind the newest one.',
  );

const WHY_GONE = {
  'does not open': 'the row was altered, or INPUTS_KEY was changed after they were sealed',
  'unknown form': 'they are stored in an unknown form',
};

const gone = (buildId: string, why: string): Refusal =>
  refusal(
    'inputs_gone',
    `the environment and secret files of build ${buildId} cannot be opened: ${why}. Submit the build anew with them.`,
  );
