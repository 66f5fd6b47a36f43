/** Submits builds by the API of the controller, and runs the alarms of their submissions. */
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import type { SubmitOptions } from '#contract';
import type { UploadState } from '../../../controller/submissions/upload-state.ts';
import { call } from '../factories/rows.ts';
import { fire, type Release, rewriteState, rowOf, stateOf, untilOver } from '../factories/submissions.ts';

/** The name of the store key that {@link setKey} sets. */
export const STORE_KEY = 'of-the-test';

const json = (method: string, body: object) => ({
  method,
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
});

/** `answers` gets what the controller has answered. */
export async function setKey(release: Release, key: object, answers: string[] = []): Promise<void> {
  const body = { ...key, apps: [release.appId], pools: [release.pool] };
  const set = await call(`/api/projects/${release.project}/store-keys/${STORE_KEY}`, env.ADMIN_KEY, json('PUT', body));
  answers.push(await set.text());
  expect(set.ok).toBe(true);
}

/** Answers the id of the submission. */
export async function submitBy(
  release: Release,
  store: SubmitOptions['store'],
  answers: string[] = [],
): Promise<string> {
  const request = json('POST', { store, storeKey: STORE_KEY });
  const made = await call(`/api/builds/${release.buildId}/submissions`, release.key.secret, request);
  const text = await made.text();
  answers.push(text);
  expect([made.status, text]).toEqual([201, expect.anything()]);
  return (JSON.parse(text) as { id: string }).id;
}

/** Runs the next alarm now, also if Google Play's steps wait for a pause of their own. */
export async function go(id: string): Promise<UploadState | undefined> {
  const plain: UploadState['plain'] = (await stateOf(id))?.plain ?? {};
  if (Number(plain.notBefore) > Date.now()) await rewriteState(id, { plain: { ...plain, notBefore: 0 } });
  await fire(id);
  return stateOf(id);
}

/** Runs alarms until this step is the next one. */
export async function untilAt(id: string, step: string): Promise<void> {
  let now: UploadState | undefined;
  for (let alarm = 0; alarm < 60; alarm++) {
    now = await go(id);
    if (now?.step === step) return;
  }
  throw new Error(`submission ${id} does not come to ${step}: ${JSON.stringify([await rowOf(id), now])}`);
}

/** `look` sees what the object stores between two steps. */
export async function untilEnded(id: string, look: () => Promise<void> = async () => {}) {
  for (let alarm = 0; alarm < 60 && (await rowOf(id)).endedAt === null; alarm++) {
    await go(id);
    await look();
  }
  return untilOver(id);
}
