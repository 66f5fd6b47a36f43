/** Makes rows, keys, tokens and stored files for a test, and calls the controller as a client does. */
import { env, exports } from 'cloudflare:workers';
import type { BatchItem } from 'drizzle-orm/batch';
import { drizzle } from 'drizzle-orm/d1';
import { type ArtifactApp, DEFAULT_TIMEOUTS } from '#contract';
import { createKey, newKey } from '../../../controller/access/keys.ts';
import { signToken, type TokenKind } from '../../../controller/access/tokens.ts';
import { storeBlob } from '../../../controller/files/blobs.ts';
import type { Holder } from '../../../controller/files/holds.ts';
import { DEFAULT_PROJECT_ID } from '../../../controller/projects/find-project.ts';
import * as schema from '../../../controller/schema/index.ts';

export const db = drizzle(env.DB, { schema });
export const HOUR_MS = 3_600_000;

/** Insertions that go to D1 in one call, which takes a fraction of the time of a call for each. */
export type Batch = BatchItem<'sqlite'>[];
const put = async (insertion: BatchItem<'sqlite'>, batch?: Batch): Promise<void> => {
  if (batch) batch.push(insertion);
  else await insertion;
};
export const send = async ([first, ...rest]: Batch): Promise<void> => {
  if (first) await db.batch([first, ...rest]);
};

/** Unique among all tests, so that none sees the rows of another. A test may make 10,000 of them. */
export const unique = (prefix: string): string => `${prefix}_${crypto.randomUUID().replaceAll('-', '').slice(0, 12)}`;

export const call = (path: string, key: string | null, init: RequestInit = {}): Promise<Response> => {
  const headers = new Headers(init.headers);
  if (key !== null) headers.set('Authorization', `Bearer ${key}`);
  return exports.default.fetch(new Request(`http://controller.test${path}`, { ...init, headers }));
};

/** The status and the code of an error answer. */
export async function errorOf(response: Response): Promise<[status: number, code: string]> {
  const { error } = await response.json<{ error: { code: string } }>();
  return [response.status, error.code];
}

export const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(new TextEncoder().encode(text));
export const sha256Of = async (content: Uint8Array<ArrayBuffer>): Promise<string> =>
  [...new Uint8Array(await crypto.subtle.digest('SHA-256', content))]
    .map((b) => b.toString(16).padStart(2, '0'))
    .join('');

export const submitKey = async (): Promise<string> =>
  (await createKey(env, { name: 'a submitter', scope: 'submit' }, Date.now())).secret;

export async function insertWorker(id: string = unique('wrk')): Promise<{ workerId: string; key: string }> {
  const now = Date.now();
  const { row, secret } = await newKey({ name: id, scope: 'worker', workerId: id }, now);
  await db.batch([...workerInsertions(id), db.insert(schema.keys).values(row)]);
  return { workerId: id, key: secret };
}

/** A worker without a key. */
export function workerInsertions(id: string, pool = 'default') {
  const now = Date.now();
  const of = { pool, platforms: ['ios' as const], slots: 1, trustedSince: now, createdAt: now };
  return [
    db.insert(schema.workers).values({ id, name: id, ...of }),
    db.insert(schema.workerPools).values({ workerId: id, pool, rank: 0 }),
  ] as const;
}

export async function insertProject(
  name: string = unique('project'),
  overrides: Partial<typeof schema.projects.$inferInsert> = {},
  batch?: Batch,
): Promise<string> {
  const id = unique('prj');
  await put(db.insert(schema.projects).values({ id, name, createdAt: Date.now(), ...overrides }), batch);
  return id;
}

/** Stores a file, which the default project or another holder then holds. */
export async function insertBlob(
  content: Uint8Array<ArrayBuffer>,
  holder: Holder = DEFAULT_PROJECT_ID,
): Promise<string> {
  const sha256 = await sha256Of(content);
  await storeBlob(env, holder, sha256, content.byteLength, new Blob([content]).stream(), Date.now());
  return sha256;
}

/** An agent's description of an artifact that is an app. */
export const anApp = (icon: string) =>
  ({
    ...{ platform: 'ios', kind: 'ipa', id: 'com.example.shop', name: 'Shop & Café', version: '1.4.0' },
    ...{ buildNumber: '42', minimumSystem: '15.1', signing: 'ad-hoc', profileExpiresAt: '2027-03-01T10:00:00.000Z' },
    ...{ devices: 7, usesNonExemptEncryption: false, debuggable: null, icon },
  }) satisfies ArtifactApp;

/** Notes that this holder holds a stored file. */
export async function insertHold(holder: Holder, sha256: string, batch?: Batch): Promise<void> {
  await put(db.insert(schema.blobHolds).values({ holder, sha256, touchedAt: Date.now() }).onConflictDoNothing(), batch);
}

const SOURCE = bytesOf('a source');
const SOURCE_SHA256 = await sha256Of(SOURCE);

/** Sends insertions of rows that name {@link SOURCE}. It is stored if it is not there yet. */
async function withSource(insertions: Batch): Promise<void> {
  const held = db
    .insert(schema.blobHolds)
    .values({ holder: DEFAULT_PROJECT_ID, sha256: SOURCE_SHA256, touchedAt: Date.now() })
    .onConflictDoUpdate({
      target: [schema.blobHolds.holder, schema.blobHolds.sha256],
      set: { touchedAt: Date.now() },
    });
  try {
    await db.batch([held, ...insertions]);
  } catch (error) {
    if (!/FOREIGN KEY/.test(`${error} ${(error as Error).cause}`)) throw error;
    await insertBlob(SOURCE);
    await send(insertions);
  }
}

export async function insertBuild(
  overrides: Partial<typeof schema.builds.$inferInsert> = {},
  batch?: Batch,
): Promise<string> {
  const { row, hasSource } = buildRow(overrides);
  const insertion = db.insert(schema.builds).values(row);
  if (hasSource) await put(insertion, batch);
  else if (!batch) await withSource([insertion]);
  else {
    await insertBlob(SOURCE);
    batch.push(insertion);
  }
  return row.id;
}

function buildRow(overrides: Partial<typeof schema.builds.$inferInsert>) {
  const now = Date.now();
  const id = overrides.id ?? unique('bld');
  const sourceSha256 = overrides.sourceSha256 ?? SOURCE_SHA256;
  const row = {
    id,
    status: 'building' as const,
    attempt: 1,
    transitionId: 't',
    maxAttempts: 1,
    platform: 'ios' as const,
    command: 'true',
    sourceSha256,
    sourceBlob: sourceSha256,
    artifactGlobs: [],
    timeouts: DEFAULT_TIMEOUTS,
    pool: 'default',
    projectId: DEFAULT_PROJECT_ID,
    labels: {},
    priority: 0,
    queueRank: 0,
    queuedAt: now,
    createdAt: now,
    ...overrides,
  };
  return { row, hasSource: overrides.sourceSha256 !== undefined };
}

export async function insertAttempt(
  buildId: string,
  attempt: number,
  overrides: Partial<typeof schema.attempts.$inferInsert> = {},
  batch?: Batch,
): Promise<void> {
  const row = {
    buildId,
    attempt,
    workerId: 'wrk_1',
    instanceId: 'mac',
    claimId: unique('claim'),
    claimedAt: Date.now(),
  };
  await put(db.insert(schema.attempts).values({ ...row, ...overrides }), batch);
}

/** A build whose first attempt runs, with the token of that attempt. */
export async function runningBuild(
  build: Partial<typeof schema.builds.$inferInsert> = {},
  attempt: Partial<typeof schema.attempts.$inferInsert> = {},
): Promise<{ buildId: string; token: string }> {
  const { row, hasSource } = buildRow(build);
  const batch: Batch = [db.insert(schema.builds).values(row)];
  await insertAttempt(row.id, 1, attempt, batch);
  await (hasSource ? send(batch) : withSource(batch));
  return { buildId: row.id, token: await tokenFor(row.id) };
}

export const tokenFor = (buildId: string, attempt = 1, kind: TokenKind = 'run', workerId = 'wrk_1'): Promise<string> =>
  signToken(env, { kind, buildId, attempt, workerId, expiresAt: Date.now() + HOUR_MS });

/** Appends to a build's log, with the token of its run. */
export const putLog = (
  buildId: string,
  token: string,
  offset: number,
  body: string | Uint8Array<ArrayBuffer>,
  attempt = 1,
): Promise<Response> =>
  call(`/api/builds/${buildId}/logs?attempt=${attempt}&offset=${offset}`, token, { method: 'PUT', body });
