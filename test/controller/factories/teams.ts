/** Makes a project with a trusted pool and keys for it, and asks the controller with any INPUTS_KEY. */
import { env } from 'cloudflare:workers';
import type { Grant, Inputs, Rights } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { pools } from '../../../controller/schema/index.ts';
import type { StoreAddresses } from '../../../controller/stores/step.ts';
import { appWith } from './app-with.ts';
import { withFaultyDatabase } from './faulty-database.ts';
import { db, insertAttempt, insertProject, tokenFor, unique } from './rows.ts';
import { type Answer, aBlob } from './scenarios.ts';
import { NO_STORES } from './store-keys.ts';

export interface Team {
  projectId: string;
  name: string;
  pool: string;
  /** This key sets and uses secrets. */
  key: string;
  keyId: string;
}

export async function aPool(trusted = true): Promise<string> {
  const name = unique('pool');
  await db.insert(pools).values({ name, trusted, createdAt: Date.now() });
  return name;
}

export async function aKey(projectId: string, may: Grant[], rights: Partial<Rights> = {}, expiresAt?: number) {
  const spec = { name: 'of the team', scope: 'submit' as const, expiresAt: expiresAt ?? null };
  const made = await createKey(
    env,
    { ...spec, rights: { ...RIGHTS_TO_ALL, projects: [projectId], maxPriority: 0, may, ...rights } },
    Date.now(),
  );
  return { key: made.secret, keyId: made.key.id };
}

export async function aTeam(): Promise<Team> {
  const name = unique('team');
  const [projectId, pool] = [await insertProject(name), await aPool()];
  return { projectId, name, pool, ...(await aKey(projectId, ['secrets.use', 'secrets.set'], { pools: [pool] })) };
}

/** One JSON call to a controller that has this INPUTS_KEY. */
export async function askWith<T = unknown>(
  INPUTS_KEY: string,
  method: string,
  path: string,
  key: string,
  body?: unknown,
  stores: StoreAddresses = NO_STORES,
): Promise<Answer<T>> {
  const headers = { Authorization: `Bearer ${key}`, ...(body !== undefined && { 'Content-Type': 'application/json' }) };
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const unlimited: RateLimit = { limit: async () => ({ success: true }) };
  const bindings = { ...withFaultyDatabase(env), INPUTS_KEY, CALLERS: unlimited, STRANGERS: unlimited };
  const response = await appWith(stores).request(path, init, bindings);
  return { status: response.status, body: await response.json<T>() };
}

export const ask = <T = unknown>(method: string, path: string, key: string, body?: unknown) =>
  askWith<T>(env.INPUTS_KEY, method, path, key, body);

export const setSecret = async (
  { projectId, key, pool }: Team,
  name: string,
  value: string,
  INPUTS_KEY = env.INPUTS_KEY,
) => {
  const { status, body } = await askWith(INPUTS_KEY, 'PUT', `/api/projects/${projectId}/secrets/${name}`, key, {
    value,
    pools: [pool],
  });
  if (status >= 300) throw new Error(JSON.stringify(body));
};

export async function submit(
  { projectId, pool, key }: Pick<Team, 'projectId' | 'pool' | 'key'>,
  request: object = {},
  INPUTS_KEY = env.INPUTS_KEY,
): Promise<string> {
  const sha256 = await aBlob(undefined, { project: projectId, key });
  const { status, body } = await askWith<{ id: string }>(INPUTS_KEY, 'POST', '/api/builds', key, {
    ...{ source: { sha256 }, command: 'make', platform: 'ios', pool, project: projectId },
    ...request,
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.id;
}

/** Begins an attempt of a queued build, as a claim does. */
export async function begin(buildId: string, attempt = 1): Promise<void> {
  await insertAttempt(buildId, attempt);
  await env.DB.prepare("UPDATE builds SET status = 'building', attempt = ?2 WHERE id = ?1")
    .bind(buildId, attempt)
    .run();
}

type Fetched = Inputs & { error?: { code: string; message: string } };
/** Fetches the inputs of an attempt that runs, as its agent does. */
export const fetchInputs = async (buildId: string, attempt = 1, INPUTS_KEY = env.INPUTS_KEY) =>
  askWith<Fetched>(INPUTS_KEY, 'GET', `/api/builds/${buildId}/inputs`, await tokenFor(buildId, attempt));

/** Submits and begins a build, and fetches the inputs that it is given. */
export async function given(
  team: Pick<Team, 'projectId' | 'pool' | 'key'>,
  request: object = {},
): Promise<Answer<Fetched>> {
  const id = await submit(team, request);
  await begin(id);
  return fetchInputs(id);
}
