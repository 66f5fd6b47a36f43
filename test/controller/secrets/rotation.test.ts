/**
 * Rotates INPUTS_KEY while builds are submitted, begun, retried and given their inputs, and while stored
 * secrets get new values. Each build gets the right values, whichever keys the deployment has at the moment.
 * `npm test` does it with a few builds. `ROTATION_BUILDS=100 SEED=7` does it with more.
 */
import { env } from 'cloudflare:workers';
import { and, eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { builds } from '../../../controller/schema/index.ts';
import { inputsCanBeOpened, keyWaitedFor } from '../../../controller/secrets/openable-inputs.ts';
import { newestSealingKey } from '../../../controller/secrets/sealing-keys.ts';
import { reseal } from '../../../controller/upkeep/reseal.ts';
import { db, unique } from '../factories/rows.ts';
import { askWith, aTeam, begin, fetchInputs, setSecret, submit, type Team } from '../factories/teams.ts';

const BUILDS = Number(env.ROTATION_BUILDS);
const OLD = 'old-0123456789abcdef0123456789abcdef';
const NEW = 'new-0123456789abcdef0123456789abcdef';
const LATER = 'later-0123456789abcdef0123456789abc';

/** The values of INPUTS_KEY, step by step, and whether the sweep has the time to seal all anew. */
const STEPS: [inputsKey: string, resealed: boolean][] = [
  [OLD, false],
  [`2:${NEW},1:${OLD}`, false],
  [`2:${NEW},1:${OLD}`, true],
  [`2:${NEW}`, false],
  // Back to one secret, as before a rollback, and on to the next.
  [NEW, false],
  [`3:${LATER},2:${NEW}`, true],
  [`3:${LATER}`, false],
];

/** Numbers that come out alike for one seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

interface Expected {
  team: Team;
  own: Record<string, string>;
  attempt: number;
}

/** The stored values by project. */
const stored = new Map<string, Record<string, string>>();
const valuesOf = ({ team, own }: Expected) => ({ ...stored.get(team.projectId), ...own });

/** Ends the build, then asks for a retry of it. */
async function retried(id: string, { team }: Expected, inputsKey: string): Promise<string> {
  await askWith(inputsKey, 'POST', `/api/builds/${id}/cancel`, team.key);
  const { status, body } = await askWith<{ id: string }>(inputsKey, 'POST', `/api/builds/${id}/retry`, team.key);
  expect(status).toBe(201);
  // The submission of a retry decides whether it uses secrets.
  await db.update(builds).set({ usesSecrets: true, projectId: team.projectId }).where(eq(builds.id, body.id));
  return body.id;
}

async function resealAll(inputsKey: string): Promise<void> {
  const deployment = { ...env, INPUTS_KEY: inputsKey };
  const { id } = await newestSealingKey(deployment);
  const left = `SELECT (SELECT count(*) FROM build_inputs WHERE key_id <> ?1) + (SELECT count(*) FROM secrets WHERE key_id <> ?1) AS count`;
  for (let minute = 0; (await env.DB.prepare(left).bind(id).first<{ count: number }>())!.count > 0; minute++) {
    expect(minute).toBeLessThan(20);
    await reseal(deployment);
  }
}

test(`${BUILDS} builds with inputs, stored secrets and retries lose nothing while INPUTS_KEY is rotated`, {
  timeout: 300_000,
}, async () => {
  await env.DB.batch(['build_inputs', 'secrets'].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
  const random = randomFrom(Number(env.SEED));
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const teams = [await aTeam(), await aTeam(), await aTeam()];
  const setTo = async (team: Team, value: string, inputsKey: string) => {
    await setSecret(team, 'STORED', value, inputsKey);
    await setSecret(team, 'SHARED', value, inputsKey);
    stored.set(team.projectId, { STORED: value, SHARED: value });
  };
  for (const team of teams) {
    await setTo(team, 'first', OLD);
    const file = { file: btoa(team.projectId), path: 'services.json', pools: [team.pool] };
    expect((await askWith(OLD, 'PUT', `/api/projects/${team.projectId}/secrets/FILE`, team.key, file)).status).toBe(
      201,
    );
  }
  const all = new Map<string, Expected>();
  const files = new Map<string, string>();
  const check = async (id: string, inputsKey: string) => {
    const expected = all.get(id)!;
    const { status, body } = await fetchInputs(id, expected.attempt, inputsKey);
    expect([id, inputsKey, status, body.env]).toEqual([id, inputsKey, 200, valuesOf(expected)]);
    expect(body.secretFiles).toEqual({ 'own.p8': files.get(id), 'services.json': btoa(expected.team.projectId) });
    expect(body.secretNames?.toSorted()).toEqual(['OWN', 'SHARED', 'STORED'].filter((name) => name in body.env).sort());
  };
  const aStep = async (inputsKey: string) => {
    const what = random();
    const waiting = [...all].filter(([, { attempt }]) => attempt === 0).map(([id]) => id);
    const running = [...all].filter(([, { attempt }]) => attempt > 0).map(([id]) => id);
    if (what < 0.3 && waiting.length > 0) {
      const id = pick(waiting);
      all.get(id)!.attempt = 1;
      await begin(id);
      return check(id, inputsKey);
    }
    if (what < 0.5 && running.length > 0) return check(pick(running), inputsKey);
    if (what < 0.65 && running.length > 0) {
      const old = pick(running);
      const id = await retried(old, all.get(old)!, inputsKey);
      files.set(id, files.get(old)!);
      all.set(id, { ...all.get(old)!, attempt: 0 });
      all.delete(old);
      return;
    }
    if (what < 0.75) return setTo(pick(teams), unique('value'), inputsKey);
    const team = pick(teams);
    const own = { OWN: unique('own'), SHARED: unique('own') };
    const file = btoa(unique('file'));
    const request = { secretEnv: { OWN: own.OWN, SHARED: own.SHARED }, secretFiles: { 'own.p8': file } };
    const id = await submit(team, request, inputsKey);
    all.set(id, { team, own, attempt: 0 });
    files.set(id, file);
  };
  for (const [index, [inputsKey, resealed]] of STEPS.entries()) {
    // A retry takes the place of its build.
    while (all.size < (BUILDS * (index + 1)) / STEPS.length) await aStep(inputsKey);
    if (resealed) await resealAll(inputsKey);
  }
  // The builds that still wait begin now. All builds have the right values.
  const last = STEPS.at(-1)![0];
  for (const [id, expected] of all) {
    if (expected.attempt === 0) await begin(id);
    expected.attempt = 1;
    await check(id, last);
  }
  console.log(`rotation: ${all.size} builds at the end`);
  // Without the key each of them waits, and none is lost.
  for (const id of all.keys()) {
    const { status, body } = await fetchInputs(id, 1, OLD);
    expect([status, body.error?.code]).toEqual([503, 'inputs_key_missing']);
  }
  for (const id of all.keys()) await check(id, last);
});

test('a build whose key is missing is not handed out, others are, and it says what it waits for', async () => {
  const team = await aTeam();
  const another = await aTeam();
  const own = await submit(team, { env: { TOKEN: 'x' } }, OLD);
  const plain = await submit(team, {}, OLD);
  const inputs = await submit(team, { env: { TOKEN: 'x' } }, NEW);
  await setSecret(another, 'TOKEN', 'x', OLD);
  const storedOnes = await submit(another);
  const withoutRight = await submit({ ...another, key: env.ADMIN_KEY });
  const all = { own, plain, inputs, storedOnes, withoutRight };
  const openable = async (INPUTS_KEY: string) => {
    const condition = await inputsCanBeOpened({ ...env, INPUTS_KEY });
    const rows = await db
      .select({ id: builds.id })
      .from(builds)
      .where(and(eq(builds.status, 'queued'), condition));
    return Object.entries(all).flatMap(([name, id]) => (rows.some((row) => row.id === id) ? [name] : []));
  };
  expect(await openable(`2:${NEW},1:${OLD}`)).toEqual(Object.keys(all));
  expect(await openable(NEW)).toEqual(['plain', 'inputs', 'withoutRight']);
  expect(await openable('')).toEqual(['plain', 'withoutRight']);
  const wordsFor = async (id: string, INPUTS_KEY: string) =>
    keyWaitedFor({ ...env, INPUTS_KEY }, (await db.select().from(builds).where(eq(builds.id, id)).get())!);
  const { id: keyId } = await newestSealingKey({ INPUTS_KEY: OLD });
  const put = 'an admin must put that key back into the list';
  expect(await wordsFor(own, NEW)).toBe(
    `the key ${keyId} of the secret INPUTS_KEY, which sealed its environment and secret files: ${put}`,
  );
  expect(await wordsFor(storedOnes, NEW)).toBe(
    `the key ${keyId} of the secret INPUTS_KEY, which sealed the stored secret TOKEN: ${put}, or somebody set or delete that secret`,
  );
  for (const id of [plain, inputs, withoutRight]) expect(await wordsFor(id, NEW)).toBeNull();
});

test('a stored secret whose key is missing stops its builds alone', async () => {
  const [team, another] = [await aTeam(), await aTeam()];
  await setSecret(team, 'TOKEN', 'x', OLD);
  await setSecret(another, 'TOKEN', 'y', NEW);
  const [stopped, bringsIt, other] = [
    await submit(team),
    await submit(team, { secretEnv: { TOKEN: 'own' } }, NEW),
    await submit(another),
  ];
  for (const id of [stopped, bringsIt, other]) await begin(id);
  const { status, body } = await fetchInputs(stopped, 1, NEW);
  expect([status, body.error?.code]).toEqual([503, 'inputs_key_missing']);
  expect(body.error!.message).toMatch(/^the stored secret TOKEN of pool .* must put that key back into the list/);
  expect((await fetchInputs(bringsIt, 1, NEW)).body.env).toEqual({ TOKEN: 'own' });
  expect((await fetchInputs(other, 1, NEW)).body.env).toEqual({ TOKEN: 'y' });
  expect((await fetchInputs(stopped, 1, `2:${NEW},1:${OLD}`)).body.env).toEqual({ TOKEN: 'x' });
});
