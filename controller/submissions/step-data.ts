/**
 * Seals and opens the data that a step of a submission leaves for the next one. `plain` is stored as it is,
 * `secret` sealed under the keys of this controller.
 */
import { open, type Place, seal } from '../secrets/sealing.ts';
import type { StepData } from '../stores/step.ts';
import type { UploadState } from './upload-state.ts';

const placeOf = (submissionId: string): Place => ['store_session', submissionId];

/** Null if the sealed part does not open any more. The steps then begin anew. */
export async function openData(
  env: Env,
  submissionId: string,
  { plain, secret }: Pick<UploadState, 'plain' | 'secret'>,
): Promise<StepData | null> {
  if (secret === null) return { plain, secret: {} };
  const opened = await open(env, placeOf(submissionId), secret);
  return opened.ok ? { plain, secret: JSON.parse(opened.text) as StepData['secret'] } : null;
}

/** Null if there is nothing to seal. */
export async function sealSecret(env: Env, submissionId: string, secret: StepData['secret']): Promise<string | null> {
  if (Object.keys(secret).length === 0) return null;
  return (await seal(env, placeOf(submissionId), JSON.stringify(secret))).sealed;
}
