/**
 * Makes builds, workers and claims as clients do: through the real routes, in real D1, R2 and Durable
 * Objects.
 */
import { env, exports } from 'cloudflare:workers';
import type {
  Assignment,
  BuildDetail,
  BuildRequestInput,
  ClaimRequest,
  Heartbeat,
  Outcome,
  ReportInput,
  Worker,
} from '#contract';
import { newKey } from '../../../controller/access/keys.ts';
import { DEFAULT_PROJECT_ID } from '../../../controller/projects/find-project.ts';
import { keys, pools } from '../../../controller/schema/index.ts';
import { bytesOf, db, insertHold, send, sha256Of, unique, workerInsertions } from './rows.ts';

export interface Answer<T = unknown> {
  status: number;
  body: T;
}

/** Makes one JSON call of the API, with the admin's key if no other is given. */
export async function api<T = unknown>(
  method: string,
  path: string,
  body?: unknown,
  key = env.ADMIN_KEY,
): Promise<Answer<T>> {
  const response = await exports.default.fetch(`https://controller.test${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as T };
}

export interface TestWorker {
  id: string;
  key: string;
  instanceId: string;
}

export async function aWorker(request: Record<string, unknown> = {}): Promise<TestWorker> {
  const { status, body } = await api<{ worker: Worker; key: string }>('POST', '/api/workers', {
    name: unique('mac'),
    ...request,
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { id: body.worker.id, key: body.key, instanceId: unique('instance') };
}

/** Makes so many workers of a pool, as rows alone, for tests that make dozens. */
export async function workersIn(pool: string, count: number): Promise<TestWorker[]> {
  const now = Date.now();
  const made = await Promise.all(
    Array.from({ length: count }, async () => {
      const id = unique('wrk');
      return { id, ...(await newKey({ name: id, scope: 'worker', workerId: id }, now)) };
    }),
  );
  await send([
    db.insert(pools).values({ name: pool, createdAt: now }).onConflictDoNothing(),
    ...made.flatMap(({ id, row }) => [...workerInsertions(id, pool), db.insert(keys).values(row)]),
  ]);
  return made.map(({ id, secret }) => ({ id, key: secret, instanceId: unique('instance') }));
}

/**
 * Stores `content` for the lineage of a key, or for a project, and returns its SHA-256. Without a project the
 * default one holds it too, so that any key may submit it there.
 */
export async function aBlob(
  content = 'a source archive',
  { project, key = env.ADMIN_KEY }: { project?: string; key?: string } = {},
): Promise<string> {
  const bytes = bytesOf(content);
  const sha256 = await sha256Of(bytes);
  await putBlob(`/api/blobs/${sha256}${project ? `?project=${project}` : ''}`, key, bytes);
  if (!project) await insertHold(DEFAULT_PROJECT_ID, sha256);
  return sha256;
}

/** Stores `content` as a file of the attempt, and returns what a report says of it. */
export async function anArtifact({ buildId, tokens }: Assignment, name: string, content: string) {
  const bytes = bytesOf(content);
  const sha256 = await sha256Of(bytes);
  await putBlob(`/api/builds/${buildId}/blobs/${sha256}`, tokens.run, bytes);
  return { name, sha256, size: bytes.length };
}

async function putBlob(path: string, key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const response = await exports.default.fetch(`https://controller.test${path}`, {
    method: 'PUT',
    headers: { Authorization: `Bearer ${key}`, 'Content-Length': String(bytes.length) },
    body: bytes,
  });
  if (!response.ok) throw new Error(await response.text());
}

export async function aBuild(request: Partial<BuildRequestInput> = {}): Promise<string> {
  const source = { sha256: await aBlob() };
  const { status, body } = await api<{ id: string }>('POST', '/api/builds', {
    source,
    command: 'make',
    platform: 'ios',
    ...request,
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.id;
}

/** @param offer what an agent says of its Mac, as far as it says it */
export const claim = (worker: TestWorker, claimId = unique('claim'), offer: Partial<ClaimRequest> = {}) =>
  api<{ assignment: Assignment | null; reason: string | null; claimIsOver?: boolean; error?: { code: string } }>(
    'POST',
    `/api/workers/${worker.id}/claim`,
    { instanceId: worker.instanceId, claimId, ...offer },
    worker.key,
  );

/** Reports the status of an agent: its slot and its VMs. */
export const sayStatus = (worker: TestWorker, said: Record<string, unknown> = {}) =>
  api<{ state: string; error?: { code: string } }>(
    'POST',
    `/api/workers/${worker.id}/status`,
    { instanceId: worker.instanceId, slots: 1, slotsInUse: 0, vms: [], agentVersion: 'test', ...said },
    worker.key,
  );

export const stateOf = async (worker: TestWorker) => (await api<Worker>('GET', `/api/workers/${worker.id}`)).body;

/** A build in a pool of its own, claimed by a worker of its own. */
export async function anAssignment(
  request: Partial<BuildRequestInput> = {},
): Promise<{ worker: TestWorker; assignment: Assignment }> {
  const pool = request.pool ?? unique('pool');
  const [worker] = (await workersIn(pool, 1)) as [TestWorker];
  await aBuild({ ...request, pool });
  const { body } = await claim(worker);
  if (!body.assignment) throw new Error(JSON.stringify(body));
  return { worker, assignment: body.assignment };
}

export const beat = ({ buildId, workerId, tokens }: Assignment, source: 'vm' | 'agent', body: Heartbeat = {}) =>
  api<{ status?: string; action?: string; vmBeatAt?: string | null; error?: { code: string } }>(
    'POST',
    `/api/builds/${buildId}/heartbeat?worker_id=${workerId}`,
    { ...body, source },
    source === 'vm' ? tokens.vm : tokens.run,
  );

type Said<T> = T extends unknown ? Omit<T, 'attempt'> : never;
export const report = ({ buildId, attempt, tokens }: Assignment, said: Said<ReportInput>) =>
  api<{ status: string; outcome?: Outcome; error?: { code: string } }>(
    'POST',
    `/api/builds/${buildId}/reports`,
    { ...said, attempt },
    tokens.run,
  );

export const show = async (buildId: string): Promise<BuildDetail> =>
  (await api<BuildDetail>('GET', `/api/builds/${buildId}`)).body;

/** Waits until a condition holds. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | false | null | undefined>,
  withinMs = 15_000,
): Promise<T> {
  const end = Date.now() + withinMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const untilEnded = (buildId: string): Promise<BuildDetail> =>
  until(`build ${buildId} has ended`, async () => {
    // The route asks a dozen times as much of D1, and many tests wait here.
    const row = await env.DB.prepare('SELECT ended_at AS at FROM builds WHERE id = ?1')
      .bind(buildId)
      .first<number>('at');
    return row !== null && show(buildId);
  });
