/** Makes what a submission needs: a project with a store key, and a build that has succeeded with an app. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { asc, eq } from 'drizzle-orm';
import type { SubmitOptions } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { findBuild } from '../../../controller/builds/rows.ts';
import * as schema from '../../../controller/schema/index.ts';
import { seal } from '../../../controller/secrets/sealing.ts';
import { placeOfStoreKey } from '../../../controller/stores/store-keys.ts';
import { createSubmission } from '../../../controller/submissions/create.ts';
import type { StoreUpload } from '../../../controller/submissions/store-upload.ts';
import type { UploadState } from '../../../controller/submissions/upload-state.ts';
import type { StoreUpload as StoreUploadOfTests } from '../../worker.ts';
import { bytesOf, db, insertAttempt, insertBlob, insertBuild, insertProject, unique } from './rows.ts';

/** The private part of the store key of {@link aRelease}. No store, log or table may show it. */
export const PRIVATE_KEY = 'the private part of a store key, 0123456789';

export interface Release {
  project: string;
  pool: string;
  buildId: string;
  appId: string;
  sha256: string;
  /** A submit key of the project, with the right `stores`. */
  key: { id: string; secret: string };
  storeKey: typeof schema.storeKeys.$inferSelect;
}

type Store = SubmitOptions['store'];

interface ReleaseOptions {
  store?: Store;
  app?: object;
  build?: object;
  /** A key that no store would know, but that can sign. */
  privateKey?: string;
}

export async function aRelease(
  content = 'the bytes of an app',
  { store = 'google-play', app = {}, build = {}, privateKey = PRIVATE_KEY }: ReleaseOptions = {},
): Promise<Release> {
  const now = Date.now();
  const [project, pool, appId] = [await insertProject(), unique('pool'), `com.example.${unique('app')}`];
  await db.insert(schema.pools).values({ name: pool, createdAt: now, trusted: true });
  const rights = { ...RIGHTS_TO_ALL, projects: [project], may: ['stores' as const] };
  const made = await createKey(env, { name: 'a release', scope: 'submit', rights }, now);
  const of = { pool, projectId: project, createdByKey: made.key.id, createdByRoot: made.key.id };
  const platform = store === 'google-play' ? 'android' : 'ios';
  const buildId = await insertBuild({ ...of, platform, status: 'succeeded', endedAt: now, trusted: true, ...build });
  await insertAttempt(buildId, 1, { endedAt: now });
  const sha256 = await insertBlob(bytesOf(content), project);
  const [kind, signing] = store === 'google-play' ? ['aab', 'release'] : ['ipa', 'app-store'];
  await db.insert(schema.artifacts).values({
    ...{ buildId, attempt: 1, name: `app.${kind}`, sha256, size: bytesOf(content).length, createdAt: now },
    app: appOf({ platform, kind, signing, id: appId, ...app }),
  });
  const storeKey = await insertStoreKey(
    {
      projectId: project,
      store,
      apps: [appId],
      pools: [pool],
      setBy: made.key.id,
    },
    privateKey,
  );
  return { project, pool, buildId, appId, sha256, key: { id: made.key.id, secret: made.secret }, storeKey };
}

export const appOf = (app: object) =>
  ({
    ...{ platform: 'android', kind: 'aab', name: 'Shop', version: '1.2.0', buildNumber: '7', minimumSystem: '24' },
    ...{ signing: 'release', profileExpiresAt: null, devices: null, usesNonExemptEncryption: null, debuggable: false },
    ...app,
  }) as unknown as NonNullable<(typeof schema.artifacts.$inferInsert)['app']>;

type SomeStoreKey = Pick<typeof schema.storeKeys.$inferInsert, 'projectId' | 'store' | 'apps' | 'pools' | 'setBy'> &
  Partial<typeof schema.storeKeys.$inferInsert>;

export async function insertStoreKey(
  row: SomeStoreKey,
  privateKey = PRIVATE_KEY,
): Promise<typeof schema.storeKeys.$inferSelect> {
  const [stored] = await db
    .insert(schema.storeKeys)
    .values(await storeKeyRow(row, privateKey))
    .returning();
  return stored!;
}

/** The row of a store key that is not inserted yet. */
export async function storeKeyRow(row: SomeStoreKey, privateKey = PRIVATE_KEY) {
  const whole = {
    id: unique('stk'),
    name: unique('key'),
    identity: 'ABCDE12345',
    version: 1,
    setAt: Date.now(),
    ...row,
  };
  const key =
    row.store === 'google-play'
      ? { store: row.store, clientEmail: 'x@example.com', privateKeyId: 'k', privateKey }
      : { store: row.store, keyId: 'ABCDE12345', issuerId: null, privateKey };
  return { ...whole, ...(await seal(env, placeOfStoreKey(whole), JSON.stringify(key))) };
}

export const optionsOf = (store: Store, more: object = {}): SubmitOptions =>
  (store === 'google-play'
    ? { store, track: 'internal', releaseStatus: 'completed', changesNotSentForReview: false, ...more }
    : { store, locale: 'en-US', ...more }) as SubmitOptions;

/** Makes the row of a submission. Its object has not begun. */
export async function aSubmission(release: Release, more: object = {}): Promise<string> {
  const build = await findBuild(env, release.buildId);
  const asker = { id: release.key.id, rootId: release.key.id };
  const options = optionsOf(release.storeKey.store, more);
  const created = await createSubmission(env, build!, options, asker, null, Date.now());
  if (!created.ok) throw new Error(created.message);
  return created.submission.id;
}

export const uploadOf = (id: string) => env.STORE_UPLOADS.getByName(id);

export const rowOf = async (id: string) =>
  (await db.select().from(schema.submissions).where(eq(schema.submissions.id, id)).get())!;

export const timelineOf = async (id: string) =>
  await db
    .select({ state: schema.submissionEvents.state, says: schema.submissionEvents.says })
    .from(schema.submissionEvents)
    .where(eq(schema.submissionEvents.submissionId, id))
    .orderBy(asc(schema.submissionEvents.number));

export const stateOf = (id: string): Promise<UploadState | undefined> =>
  runInDurableObject(uploadOf(id), (_object, state) => state.storage.kv.get<UploadState>('record'));

/** Changes what the object has stored. */
export const rewriteState = (id: string, patch: Partial<UploadState>): Promise<void> =>
  runInDurableObject(uploadOf(id), (_object, state) => {
    state.storage.kv.put('record', { ...state.storage.kv.get<UploadState>('record')!, ...patch });
  });

/** Runs the alarm now, to its end. If an alarm runs already, waits for that one. */
export const fire = (id: string): Promise<void> =>
  runInDurableObject(uploadOf(id), async (object: StoreUpload) => {
    await object.alarm();
    await (object as StoreUploadOfTests).untilIdle();
  });

/** Runs alarm after alarm, without their pauses, until the submission has ended. */
export async function untilOver(id: string, alarmsMax = 60): Promise<typeof schema.submissions.$inferSelect> {
  for (let alarms = 0; alarms < alarmsMax; alarms++) {
    const row = await rowOf(id);
    const state = await stateOf(id);
    if (row.endedAt !== null && (!state || (state.ended?.cleanUp === 'none' && !state.pending))) return row;
    await fire(id);
  }
  throw new Error(`submission ${id} did not end: ${JSON.stringify([await rowOf(id), await stateOf(id)])}`);
}
