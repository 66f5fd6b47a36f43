/**
 * Sets counters of build numbers, and lets attempts ask for the numbers of their builds, one after another
 * and at once. `npm test` draws some courses. This draws more:
 *
 *   NUMBER_COURSES=1000 SEED=7 npx vitest run --project controller
 *   test/controller/projects/build-numbers.test.ts
 */
import { env } from 'cloudflare:workers';
import { and, eq, sql } from 'drizzle-orm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ANDROID_BUILD_NUMBER_MAX,
  APPS_OF_PROJECT_MAX,
  type App,
  type Assignment,
  type AuditEntry,
  type Build,
  type BuildNumberAnswer,
  type BuildNumberRequest,
  buildNumberMax,
  type CounterList,
  type CounterSet,
  IOS_BUILD_NUMBER_MAX,
} from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { isJump, mayHaveNumber, nextNumber, nextNumberNow } from '../../../controller/projects/build-numbers.ts';
import { buildNumbers, builds, projects } from '../../../controller/schema/index.ts';
import { deleteProject } from '../../../controller/upkeep/project-deletion.ts';
import { databaseFaults } from '../factories/faulty-database.ts';
import { call, db, insertProject, runningBuild, tokenFor, unique } from '../factories/rows.ts';
import { aBlob, aBuild, api, aWorker, claim } from '../factories/scenarios.ts';
import { aKey, ask, begin } from '../factories/teams.ts';

type Failure = { error: { code: string; message: string } };
type Platform = 'ios' | 'android';

const APP = 'com.example.app';
const NUMBER_COURSES = Number(env.NUMBER_COURSES);

interface Team {
  projectId: string;
  name: string;
  /** A key with the right `numbers`, one without it, and an untrusted one. */
  may: { key: string; keyId: string };
  mayNot: { key: string; keyId: string };
  untrusted: { key: string; keyId: string };
}
async function aTeam(): Promise<Team> {
  const name = unique('team');
  const projectId = await insertProject(name);
  const [may, mayNot, untrusted] = [
    await aKey(projectId, ['numbers']),
    await aKey(projectId, []),
    await aKey(projectId, [], { trusted: false }),
  ];
  return { projectId, name, may, mayNot, untrusted };
}

const put = (team: Pick<Team, 'projectId'>, value: number, key: string, platform: Platform = 'ios', appId = APP) =>
  ask<CounterSet & Failure>('PUT', `/api/projects/${team.projectId}/numbers/${platform}/${appId}`, key, { value });
const seed = async (team: Team, value: number, platform: Platform = 'ios', appId = APP) =>
  expect((await put(team, value, team.may.key, platform, appId)).status).toBeLessThan(300);
const list = async ({ projectId }: Pick<Team, 'projectId'>, key = env.ADMIN_KEY) =>
  (await ask<CounterList>('GET', `/api/projects/${projectId}/numbers`, key)).body.counters;
const counterOf = async (team: Team, platform: Platform = 'ios', appId = APP): Promise<number | null> =>
  (await list(team)).find((one) => one.platform === platform && one.appId === appId)?.value ?? null;

interface Kind {
  platform?: Platform;
  trusted?: boolean;
  by?: { keyId: string };
  app?: App;
}
/** A build of the team whose first attempt runs. */
async function running(team: Team, { platform = 'ios', trusted = true, by = team.mayNot, app }: Kind = {}) {
  const { buildId } = await runningBuild({
    ...{ projectId: team.projectId, platform, trusted, createdByKey: by.keyId, createdByRoot: by.keyId },
    ...{ appId: app?.id, appBuildNumber: app?.buildNumber },
  });
  return buildId;
}
const number = async (buildId: string, request: Partial<BuildNumberRequest> = {}, attempt = 1) =>
  ask<BuildNumberAnswer & Failure>('POST', `/api/builds/${buildId}/number`, await tokenFor(buildId, attempt), {
    ...{ app: { id: APP }, increment: true },
    ...request,
  });
const given = (buildNumber?: number, id = APP): App => ({ id, ...(buildNumber !== undefined && { buildNumber }) });
const numberOf = async (team: Team, kind: Kind = {}, request: Partial<BuildNumberRequest> = {}) => {
  const { status, body } = await number(await running(team, kind), request);
  return status === 200 ? body.buildNumber : [status, body.error.code];
};
const rowOf = async (id: string) => (await db.select().from(builds).where(eq(builds.id, id)).get())!;

// ── The formula ────────────────────────────────────────────────────────────────────────────────────────────

/** The number of the next build, computed here a second time, or why it gets none. */
function modelOf(
  counter: number | undefined,
  { own, increment, platform, may }: { own: number; increment: boolean; platform: Platform; may: boolean },
): number | 'number_not_seeded' | 'forbidden' {
  if (counter === undefined && own <= 1) return 'number_not_seeded';
  const next = counter === undefined ? own : Math.max(own, increment ? counter + 1 : counter);
  const last = platform === 'android' ? 2_100_000_000 : 2 ** 53 - 1;
  if (next > last) return 'forbidden';
  const isLarge = next > (counter ?? 0) + 10_000 || (platform === 'android' && next === last);
  return isLarge && !may ? 'forbidden' : next;
}

const highs = [ANDROID_BUILD_NUMBER_MAX, IOS_BUILD_NUMBER_MAX].flatMap((max) => [max - 1, max]);
const own = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(undefined, 1, 2) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 60 }) },
  { weight: 3, arbitrary: fc.constantFrom(10_000, 10_001, 10_002, 10_060, 20_001, 2_000_000) },
  { weight: 1, arbitrary: fc.constantFrom(...highs) },
);
const step = fc.oneof(
  { weight: 1, arbitrary: fc.record({ set: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.constantFrom(...highs)) }) },
  {
    weight: 6,
    arbitrary: fc.record({ own, increment: fc.boolean(), by: fc.constantFrom('may', 'mayNot', 'untrusted') }),
  },
);
const course = fc.array(
  fc.tuple(fc.constantFrom<Platform>('ios', 'android'), fc.constantFrom(APP, 'com.example.b'), step),
  {
    minLength: 4,
    maxLength: 14,
  },
);

for (let from = 0; from < NUMBER_COURSES; from += 100)
  test(`each build gets what the formula says, and each counter stands where it says, from course ${from} on`, {
    timeout: 300_000,
  }, async () => {
    const runs = { numRuns: Math.min(100, NUMBER_COURSES - from), seed: Number(env.SEED) * 1_000 + from };
    await fc.assert(
      fc.asyncProperty(course, async (steps) => {
        const team = await aTeam();
        const model = new Map<string, number>();
        for (const [platform, appId, one] of steps) {
          const name = `${platform}/${appId}`;
          const before = model.get(name);
          if ('set' in one) {
            const isTooHigh = platform === 'android' && one.set > 2_100_000_000;
            const { status, body } = await put(team, one.set, team.may.key, platform, appId);
            expect(status).toBe(isTooHigh ? 400 : before === undefined ? 201 : 200);
            if (!isTooHigh) expect([body.value, body.was]).toEqual([one.set, before ?? null]);
            if (!isTooHigh) model.set(name, one.set);
            continue;
          }
          const who = one.by as 'may' | 'mayNot' | 'untrusted';
          const trusted = who !== 'untrusted';
          const expected = modelOf(before, { ...one, own: one.own ?? 0, platform, may: who === 'may' });
          const buildId = await running(team, { platform, trusted, by: team[who] });
          const request = { app: given(one.own, appId), increment: one.increment };
          const first = await number(buildId, request);
          expect(first.body.error?.code ?? first.body.buildNumber).toBe(expected);
          if (typeof expected === 'string') continue;
          if (trusted) model.set(name, expected);
          expect((await number(buildId, { ...request, increment: true })).body).toEqual(first.body);
        }
        const counters = (await list(team)).map(({ platform, appId, value }) => [`${platform}/${appId}`, value]);
        expect(Object.fromEntries(counters)).toEqual(Object.fromEntries(model));
      }),
      runs,
    );
  });

test('the statement that stores a number holds the rules that the sentence was made from', async () => {
  const projectId = await insertProject();
  const counter = fc.option(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constantFrom(...highs)));
  const asked = fc.record({ given: own.map((one) => one ?? 0), increment: fc.boolean() });
  const platforms = fc.constantFrom<Platform>('ios', 'android');
  await fc.assert(
    fc.asyncProperty(
      platforms,
      counter,
      asked,
      fc.boolean(),
      fc.boolean(),
      async (platform, value, want, seeds, mayJump) => {
        const app = { projectId, platform, appId: `com.example.${unique('app')}` };
        if (value !== null) await db.insert(buildNumbers).values({ ...app, value, updatedAt: 1 });
        const [row] = await db.all<{ number: number; may: number }>(
          sql`SELECT ${nextNumberNow(app, want)} AS number, ${mayHaveNumber(app, want, { seeds, mayJump })} AS may`,
        );
        await db.delete(buildNumbers).where(eq(buildNumbers.projectId, projectId));
        const next = nextNumber(value, want);
        expect(row!.may === 1).toBe(
          next !== null && next <= buildNumberMax(platform) && (mayJump || !isJump(platform, value, next)),
        );
        if (next !== null) expect(row!.number).toBe(next);
      },
    ),
    { numRuns: 200, seed: Number(env.SEED) },
  );
});

// ── One number for one build ───────────────────────────────────────────────────────────────────────────────

test('of many builds that ask at once each gets its own number, and the counter has the highest', async () => {
  const team = await aTeam();
  await seed(team, 41);
  const ids = await Promise.all(Array.from({ length: 40 }, () => running(team)));
  // Each asks three times at once, as an agent does whose answers are lost.
  const answers = await Promise.all(
    ids.flatMap((id) => Array.from({ length: 3 }, async () => [id, (await number(id)).body.buildNumber] as const)),
  );
  const byBuild = Map.groupBy(answers, ([id]) => id);
  const numbers = [...byBuild.values()].map((asked) => {
    expect(new Set(asked.map(([, one]) => one)).size).toBe(1);
    return asked[0]![1];
  });
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => 42 + i));
  expect(await counterOf(team)).toBe(81);
});

test('of many builds that bring a first number at once one has it, and the others follow', async () => {
  const team = await aTeam();
  const ids = await Promise.all(Array.from({ length: 12 }, () => running(team)));
  const answers = await Promise.all(ids.map((id) => number(id, { app: given(7) })));
  expect(answers.map(({ body }) => body.buildNumber).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 12 }, (_, i) => 7 + i),
  );
});

test('of builds that ask while somebody sets the counter those that come later count on from there', async () => {
  for (let round = 0; round < 8; round++) {
    const team = await aTeam();
    await seed(team, 100);
    const ids = await Promise.all(Array.from({ length: 8 }, () => running(team)));
    const value = round % 2 ? 500 : 102;
    const [set, ...answers] = await Promise.all([put(team, value, team.may.key), ...ids.map((id) => number(id))]);
    const numbers = answers.map(({ body }) => body.buildNumber).sort((a, b) => a - b);
    // Some numbers came before the new value, from 101 on. The others came after it, counting on from it.
    const before = set.body.was! - 100;
    const expected = numbers.map((_, i) => (i < before ? 101 + i : value + 1 + i - before)).sort((a, b) => a - b);
    expect(numbers).toEqual(expected);
    expect(await counterOf(team)).toBe(value + numbers.length - before);
  }
});

test('all attempts of a build have the number of the first, a retry has its own, and both keep app and folder', async () => {
  const team = await aTeam();
  await seed(team, 41);
  const app = { id: APP, version: '1.4.0', buildNumber: 3 };
  const source = { sha256: await aBlob('a source', { project: team.projectId }) };
  const request = {
    source,
    platform: 'ios',
    profile: 'production',
    project: team.projectId,
    projectRoot: 'apps/mobile',
  };
  const submitted = await ask<Build & Failure>('POST', '/api/builds', team.mayNot.key, { ...request, app });
  expect(submitted).toMatchObject({
    status: 201,
    body: { projectRoot: 'apps/mobile', app: { id: APP, version: '1.4.0' }, buildNumber: null },
  });
  const { id } = submitted.body;
  await begin(id);
  expect((await number(id)).body).toEqual({ appId: APP, buildNumber: 42 });
  await begin(id, 2);
  expect((await number(id, {}, 1)).status).toBe(409);
  // A later attempt gets the same number, whatever it asks for.
  for (const other of [{ increment: false }, { app: given(90) }, { app: given(90, 'com.example.other') }])
    expect((await number(id, other, 2)).body).toEqual({ appId: APP, buildNumber: 42 });
  expect((await ask<Build>('GET', `/api/builds/${id}`, team.mayNot.key)).body).toMatchObject({ buildNumber: 42 });
  await db.update(builds).set({ status: 'failed', endedAt: 1 }).where(eq(builds.id, id));
  const retried = await ask<Build>('POST', `/api/builds/${id}/retry`, team.mayNot.key);
  expect(retried.body).toMatchObject({ projectRoot: 'apps/mobile', app: { id: APP }, buildNumber: null });
  await begin(retried.body.id);
  expect((await number(retried.body.id)).body.buildNumber).toBe(43);
  expect(await rowOf(retried.body.id)).toMatchObject({ appVersion: '1.4.0', appBuildNumber: 3 });
});

test('whichever call of D1 fails, or loses its answer, a build has one number, and the counter has moved with it', async () => {
  const team = await aTeam();
  await seed(team, 41);
  for (const how of ['refused', 'answer lost'] as const)
    for (let failing = 1; ; failing++) {
      const id = await running(team);
      const before = (await counterOf(team))!;
      let calls = 0;
      databaseFaults.decide = () => (++calls === failing ? how : undefined);
      const first = await number(id).finally(() => {
        databaseFaults.decide = null;
      });
      const stored = (await rowOf(id)).buildNumber;
      expect((await counterOf(team))! - before).toBe(stored === null ? 0 : 1);
      expect((await number(id)).body.buildNumber).toBe(before + 1);
      expect(await counterOf(team)).toBe(before + 1);
      if (calls < failing) {
        expect(failing).toBeGreaterThan(1);
        break;
      }
      expect(first.status).toBe(500);
    }
});

test('an attempt that has ended gets no number, nor does one of a build that somebody cancels at the same time', async () => {
  const team = await aTeam();
  await seed(team, 41);
  for (let round = 0; round < 10; round++) {
    const id = await running(team);
    const [answer] = await Promise.all([number(id), api('POST', `/api/builds/${id}/cancel`)]);
    expect([200, 410]).toContain(answer.status);
    expect((await rowOf(id)).buildNumber !== null).toBe(answer.status === 200);
  }
  const used = (await counterOf(team))!;
  const id = await running(team);
  await api('POST', `/api/builds/${id}/cancel`);
  expect((await number(id)).status).toBe(410);
  expect(await counterOf(team)).toBe(used);
});

// ── Where the first number comes from ──────────────────────────────────────────────────────────────────────

test('without a counter the sentence says how to make one, in the VM and at the submission, before a build is made', async () => {
  const team = await aTeam();
  const how = `\`PUT /api/projects/${team.name}/numbers/ios/${APP}\` with {"value": NUMBER}`;
  const source = { sha256: await aBlob('a source', { project: team.projectId }) };
  const request = { source, platform: 'ios', command: 'make', project: team.name };
  const submitted = async (app: App, more: object = {}, key = team.mayNot.key) =>
    ask<Build & Failure>('POST', '/api/builds', key, { ...request, app, ...more });
  for (const app of [given(), given(1)]) {
    const inVm = await number(await running(team), { app });
    const untrusted = await number(await running(team, { trusted: false }), { app });
    for (const { status, body } of [inVm, untrusted, await submitted(app), await submitted(app, { trusted: false })]) {
      expect([status, body.error.code]).toEqual([422, 'number_not_seeded']);
      expect(body.error.message).toContain(how);
    }
  }
  expect((await submitted(given(), { idempotencyKey: 'x' })).status).toBe(422);
  const made = await db
    .select()
    .from(builds)
    .where(and(eq(builds.projectId, team.projectId), eq(builds.status, 'queued')));
  expect(made).toEqual([]);
  expect((await submitted(given(2))).status).toBe(201);
  await seed(team, 41);
  expect((await submitted(given(), { idempotencyKey: 'x' })).status).toBe(201);
  // The platforms have separate counters.
  expect((await submitted(given(), { platform: 'android' })).body.error.message).toContain(`numbers/android/${APP}`);
});

test('a build that would be refused for its number makes no project', async () => {
  const { secret, key } = await createKey(env, { name: 'ci', scope: 'submit', rights: RIGHTS_TO_ALL }, Date.now());
  expect(key.scope).toBe('submit');
  const source = { sha256: await aBlob('a source', { key: secret }) };
  const name = unique('new');
  const request = { source, platform: 'ios', command: 'make', project: name };
  const refused = await ask<Failure>('POST', '/api/builds', secret, { ...request, app: given() });
  expect([refused.status, refused.body.error.code]).toEqual([422, 'number_not_seeded']);
  expect(refused.body.error.message).toContain(`There is no project ${name} yet: make it first`);
  expect(await db.select().from(projects).where(eq(projects.name, name))).toEqual([]);
  expect((await ask('POST', '/api/builds', secret, { ...request, app: given(5) })).status).toBe(201);
});

test('the own number of a build makes the counter, and two platforms with one id have two', async () => {
  const team = await aTeam();
  expect(await numberOf(team, {}, { app: given(7) })).toBe(7);
  expect(await numberOf(team, {}, { app: given(7) })).toBe(8);
  expect(await numberOf(team, { platform: 'android' }, { app: given(3) })).toBe(3);
  expect((await list(team)).map(({ platform, value, setBy }) => [platform, value, setBy])).toEqual([
    ['android', 3, null],
    ['ios', 8, null],
  ]);
});

test('a build that was requested for one app gets no number of another, and the number of the request counts too', async () => {
  const team = await aTeam();
  await seed(team, 41);
  await seed(team, 900, 'ios', 'com.example.b');
  const id = await running(team, { app: { id: APP, buildNumber: 50 } });
  const other = await number(id, { app: given(undefined, 'com.example.b') });
  expect([other.status, other.body.error.message]).toEqual([
    403,
    expect.stringContaining(`requested for the app ${APP}, and its source makes com.example.b`),
  ]);
  expect((await number(id)).body.buildNumber).toBe(50);
  expect(await counterOf(team, 'ios', 'com.example.b')).toBe(900);
});

// ── Who may move it how far ────────────────────────────────────────────────────────────────────────────────

test('a jump needs the right of the key that requested the build, asked when the number is given', async () => {
  const team = await aTeam();
  await seed(team, 41);
  expect(await numberOf(team, {}, { app: given(10_041) })).toBe(10_041);
  const refused = await number(await running(team), { app: given(20_042) });
  expect([refused.status, refused.body.error.message]).toEqual([
    403,
    `${APP} would get the build number 20042, after 10041. A step of more than 10000 needs the right \`numbers\`, and the ` +
      'key that requested the build does not have it. Correct the number in the project, or set the counter near to it: ' +
      `\`PUT /api/projects/${team.name}/numbers/ios/${APP}\` with {"value": NUMBER} and a key that has the right \`numbers\``,
  ]);
  const { keyId } = await aKey(team.projectId, ['numbers']);
  const late = await running(team, { by: { keyId } });
  await env.DB.prepare('UPDATE keys SET revoked_at = 1 WHERE id = ?1').bind(keyId).run();
  expect((await number(late, { app: given(20_042) })).body.error.message).toContain(
    'the key that requested the build was revoked',
  );
  expect(await counterOf(team)).toBe(10_041);
  expect(await numberOf(team, { by: team.may }, { app: given(20_042) })).toBe(20_042);
  expect(await numberOf(team, { by: { keyId: 'admin' } }, { app: given(202_611_281_759) })).toBe(202_611_281_759);
});

test('the highest number of Android needs the right, and above it there is none for anybody', async () => {
  const team = await aTeam();
  const last = ANDROID_BUILD_NUMBER_MAX;
  await seed(team, last - 1, 'android');
  const android = (by = team.mayNot, trusted = true) => ({ platform: 'android' as const, by, trusted });
  expect(await numberOf(team, android())).toEqual([403, 'forbidden']);
  expect(await numberOf(team, android(team.untrusted, false))).toEqual([403, 'forbidden']);
  expect(await numberOf(team, android(team.may))).toBe(last);
  for (const by of [team.may, { keyId: 'admin', key: '' }]) {
    const refused = await number(await running(team, android(by)));
    expect(refused.body.error.message).toContain(`${last} is the highest of android`);
  }
  expect((await put(team, last + 1, team.may.key, 'android')).body.error.message).toContain(`must be at most ${last}`);
  expect((await put(team, IOS_BUILD_NUMBER_MAX, team.may.key)).body.value).toBe(IOS_BUILD_NUMBER_MAX);
  expect(await numberOf(team, { by: team.may })).toEqual([403, 'forbidden']);
  expect(await numberOf(team, { by: team.may }, { increment: false })).toBe(IOS_BUILD_NUMBER_MAX);
});

test('builds that are not trusted get numbers, and no counter moves or is made, whatever they name', async () => {
  const team = await aTeam();
  await seed(team, 41);
  await seed(team, 7, 'android');
  const before = await list(team);
  const stranger = { trusted: false, by: team.untrusted };
  for (const buildNumber of [undefined, 1, 42, 50, 10_041])
    expect(await numberOf(team, stranger, { app: given(buildNumber) })).toBe(Math.max(42, buildNumber ?? 0));
  for (const buildNumber of [10_042, ANDROID_BUILD_NUMBER_MAX, IOS_BUILD_NUMBER_MAX])
    for (const platform of ['ios', 'android'] as const)
      expect(await numberOf(team, { ...stranger, platform }, { app: given(buildNumber) })).toEqual([403, 'forbidden']);
  expect(await numberOf(team, stranger, { app: given(9, 'com.example.stranger') })).toBe(9);
  // This also holds for a build that a key with all rights has marked as a stranger's.
  expect(await numberOf(team, { trusted: false, by: team.may }, { app: given(1_000_000) })).toBe(1_000_000);
  expect(await list(team)).toEqual(before);
  expect(await numberOf(team)).toBe(42);
});

// ── The routes ─────────────────────────────────────────────────────────────────────────────────────────────

test('a counter is set up and down, shown to readers, and recorded with what it was', async () => {
  const team = await aTeam();
  expect(await put(team, 41, team.may.key)).toMatchObject({
    status: 201,
    body: { platform: 'ios', appId: APP, value: 41, was: null, setBy: { keyId: team.may.keyId, name: 'of the team' } },
  });
  expect(await put(team, 20, team.may.key)).toMatchObject({ status: 200, body: { value: 20, was: 41 } });
  expect(await put({ projectId: team.name }, 30, env.ADMIN_KEY)).toMatchObject({
    body: { was: 20, setBy: { keyId: 'admin' } },
  });
  for (const { key } of [team.mayNot, team.untrusted]) {
    expect((await put(team, 99, key)).status).toBe(403);
    expect(await list(team, key)).toMatchObject([{ value: 30, setBy: null }]);
  }
  expect(await numberOf(team)).toBe(31);
  const { body } = await api<{ entries: AuditEntry[] }>('GET', '/api/audit?limit=200');
  const entries = body.entries.filter(({ projectId }) => projectId === team.projectId);
  expect(entries.map(({ action, target, detail, keyId }) => [action, target, detail, keyId])).toEqual([
    ['number.set', `number/ios/${APP}`, { was: 20, value: 30 }, 'admin'],
    ['number.set', `number/ios/${APP}`, { was: 41, value: 20 }, team.may.keyId],
    ['number.set', `number/ios/${APP}`, { was: null, value: 41 }, team.may.keyId],
  ]);
});

test('a request with a mistake is refused, and names the field', async () => {
  const team = await aTeam();
  const path = (rest: string) => `/api/projects/${team.projectId}/numbers/${rest}`;
  for (const [rest, body, said] of [
    [`macos/${APP}`, { value: 1 }, 'platform: must be "ios" or "android"'],
    ['ios/app', { value: 1 }, 'appId: must be a bundle id or a package, such as com.example.app'],
    [`ios/${APP}`, { value: 0 }, 'value: must be at least 1'],
    [`ios/${APP}`, { value: 1.5 }, 'value: must be a whole number'],
    [`ios/${APP}`, { value: 1, app: APP }, 'app: there is no such field; is its name right?'],
  ] as const) {
    const refused = await ask<Failure>('PUT', path(rest), team.may.key, body);
    expect([refused.status, refused.body.error.message]).toEqual([400, said]);
  }
  expect((await number(await running(team), { increment: undefined })).status).toBe(400);
  expect(await list(team)).toEqual([]);
});

test('a project has counters of so many apps, and one more is refused, also to a build', async () => {
  const team = await aTeam();
  for (let i = 0; i < APPS_OF_PROJECT_MAX - 1; i++)
    await db
      .insert(buildNumbers)
      .values({ projectId: team.projectId, platform: 'ios', appId: `com.a${i}.b`, value: 1, updatedAt: 1 });
  // All ask at once. One of them gets the last counter.
  const ids = await Promise.all(Array.from({ length: 6 }, () => running(team)));
  const answers = await Promise.all(ids.map((id, i) => number(id, { app: given(7, `com.example.n${i}`) })));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 403, 403, 403, 403, 403]);
  expect((await list(team)).length).toBe(APPS_OF_PROJECT_MAX);
  const set = await put(team, 5, team.may.key, 'ios', 'com.example.more');
  expect([set.status, set.body.error.code]).toEqual([413, 'too_large']);
  expect((await put(team, 5, team.may.key, 'ios', 'com.a1.b')).status).toBe(200);
  expect(await numberOf(team, {}, { app: given(undefined, 'com.a1.b') })).toBe(6);
  // An untrusted build makes no counter, so there is always room.
  expect(await numberOf(team, { trusted: false }, { app: given(9, 'com.example.stranger') })).toBe(9);
});

test('a deleted project takes its counters along, and a new one of its name has none', async () => {
  const team = await aTeam();
  await seed(team, 41);
  const project = (await db.select().from(projects).where(eq(projects.id, team.projectId)).get())!;
  expect(await deleteProject(env, project, Date.now())).toEqual({ ok: true });
  const left = () => db.select().from(buildNumbers).where(eq(buildNumbers.projectId, team.projectId));
  expect(await left()).toEqual([]);
  expect((await put(team, 41, env.ADMIN_KEY)).status).toBe(404);
  const anew = { projectId: await insertProject(team.name) };
  expect(await list(anew)).toEqual([]);
  expect((await call(`/api/projects/${anew.projectId}/numbers`, team.may.key)).status).toBe(404);
  expect(await left()).toEqual([]);
});

test('a counter and the deletion of its project at once: no counter outlives the project', async () => {
  for (let round = 0; round < 12; round++) {
    const team = await aTeam();
    const project = (await db.select().from(projects).where(eq(projects.id, team.projectId)).get())!;
    const [set, deleted] = await Promise.all([put(team, 41, team.may.key), deleteProject(env, project, Date.now())]);
    expect(deleted.ok).toBe(true);
    expect([201, 404, 409]).toContain(set.status);
    expect(await db.select().from(buildNumbers).where(eq(buildNumbers.projectId, team.projectId))).toEqual([]);
  }
});

// ── The assignment of a worker ─────────────────────────────────────────────────────────────────────────────

test('an assignment has the profile, the folder, the app and all of the origin, and a command for older agents', async () => {
  const pool = unique('pool');
  const worker = await aWorker({ pool });
  const origin = {
    ...{ repository: 'github.com/acme/app', ref: 'refs/heads/main', branch: 'main', tag: 'v1', commit: 'c'.repeat(40) },
    ...{ pullRequest: 7, commitCount: 1_234, author: 'A', message: 'x', dirty: true, url: 'https://ci.example.com/1' },
  };
  const app = { id: APP, version: '1.4.0', buildNumber: 3 };
  await aBuild({ pool, command: undefined, profile: 'production', projectRoot: "apps/it's", app, origin });
  const { assignment } = (await claim(worker, 'the-claim')).body;
  expect(assignment).toMatchObject({
    ...{ profile: 'production', projectRoot: "apps/it's", app, origin },
    command: `cd -- 'apps/it'\\''s' && eas build --local --non-interactive --platform ios --profile production`,
  } satisfies Partial<Assignment>);
  expect((await claim(worker, 'the-claim')).body.assignment).toMatchObject({ app, origin });
  const other = await aWorker({ pool: `${pool}-2` });
  await aBuild({ pool: `${pool}-2` });
  const { assignment: plain } = (await claim(other)).body;
  for (const field of ['profile', 'projectRoot', 'app', 'origin'] as const) expect(plain).not.toHaveProperty(field);
  expect(plain!.command).toBe('make');
});
