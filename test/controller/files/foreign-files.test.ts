/**
 * Tries to get at a file of another project by its SHA-256 alone. Everything that is asked about such a file
 * is answered like the same question about a file that nobody has stored, with as many calls of D1 and R2.
 */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { BuildRequest, PART_SHA256_HEADER, type Upload } from '#contract';
import { createKey, findKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { submitBuild } from '../../../controller/builds/submit.ts';
import { openBlob } from '../../../controller/files/blobs.ts';
import { findProject } from '../../../controller/projects/find-project.ts';
import { blobHolds, blobs, outbox } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { appWith } from '../factories/app-with.ts';
import { begin, withPlatformLimits } from '../factories/platform-limits.ts';
import {
  anApp,
  bytesOf,
  call,
  db,
  HOUR_MS,
  insertBuild,
  insertProject,
  insertWorker,
  runningBuild,
  sha256Of,
  tokenFor,
  unique,
} from '../factories/rows.ts';
import { anArtifact, anAssignment, report, until } from '../factories/scenarios.ts';

interface File {
  bytes: Uint8Array<ArrayBuffer>;
  sha256: string;
}
const aFile = async (): Promise<File> => {
  const bytes = bytesOf(unique('a private source of another team'));
  return { bytes, sha256: await sha256Of(bytes) };
};

/** A project with a key that reaches it alone. */
async function aTeam() {
  const project = await insertProject();
  const rights = { ...RIGHTS_TO_ALL, projects: [project], maxPriority: 0 };
  const { secret, key } = await createKey(env, { name: 'ci', scope: 'submit', rights }, Date.now());
  await isUsed(secret);
  return { project, key: secret, keyId: key.id };
}
/** Uses the key. Noting the first use takes one statement more. */
const isUsed = async (key: string) => expect((await call('/api/me', key)).status).toBe(200);
type Team = Awaited<ReturnType<typeof aTeam>>;

/** Answers a request, and counts what the controller asked of D1 and R2 for it. */
async function asked(path: string, key: string, init: RequestInit = {}) {
  const usage = begin('a question');
  let r2 = 0;
  const counted = withPlatformLimits(env, usage);
  const BLOBS = new Proxy(env.BLOBS, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        r2++;
        return value.apply(target, args);
      };
    },
  });
  const answer = await appWith().request(
    path,
    { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } },
    { ...counted, BLOBS },
  );
  return { status: answer.status, text: await answer.text(), statements: usage.statements, r2 };
}
const put = ({ sha256 }: File, body: Uint8Array<ArrayBuffer>, key: string) =>
  asked(`/api/blobs/${sha256}`, key, { method: 'PUT', body, headers: { 'Content-Length': String(body.length) } });
const json = (body: unknown): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
});
const submission = ({ sha256 }: File, pool: string, project: string) =>
  json({ source: { sha256 }, command: 'make', platform: 'ios', pool, project });

/** A file that a team has stored. */
async function aStoredFile(team: Team): Promise<File> {
  const file = await aFile();
  expect((await put(file, file.bytes, team.key)).status).toBe(201);
  return file;
}
const without = (file: File, text: string) => text.replaceAll(file.sha256, 'SHA256').replaceAll(/u_[\w-]{24}/g, 'ID');
const objectsOf = async ({ sha256 }: File) =>
  (await env.BLOBS.list({ prefix: `blobs/${sha256}/` })).objects.map(({ key }) => key);
const holdersOf = async ({ sha256 }: File) =>
  (await db.select().from(blobHolds).where(eq(blobHolds.sha256, sha256))).map(({ holder }) => holder).sort();

/** Each question that names a file, asked by a team that has not stored it. */
const QUESTIONS: Record<string, (file: File, team: Team, pool: string) => ReturnType<typeof asked>> = {
  HEAD: (file, { key }) => asked(`/api/blobs/${file.sha256}`, key, { method: 'HEAD' }),
  GET: (file, { key }) => asked(`/api/blobs/${file.sha256}`, key),
  'GET for the project': (file, { key, project }) => asked(`/api/blobs/${file.sha256}?project=${project}`, key),
  'PUT of garbage of the right length': (file, { key }) => put(file, new Uint8Array(file.bytes.length).fill(7), key),
  'PUT of one byte of garbage': (file, { key }) => put(file, bytesOf('x'), key),
  'PUT of the file': (file, { key }) => put(file, file.bytes, key),
  'POST of an upload in parts': (file, { key }) => asked(`/api/blobs/${file.sha256}/uploads`, key, json({ size: 5 })),
  'POST of a build with it as source': (file, { key, project }, pool) =>
    asked('/api/builds', key, submission(file, pool, project)),
};

for (const [question, ask] of Object.entries(QUESTIONS))
  test(`${question}: a foreign file is answered like a new one, with as many calls behind it`, async () => {
    const [owner, other] = [await aTeam(), await aTeam()];
    const [foreign, fresh] = [await aStoredFile(owner), await aFile()];
    const pool = unique('pool');
    const [ofForeign, ofFresh] = [await ask(foreign, other, pool), await ask(fresh, other, pool)];
    expect({ ...ofForeign, text: without(foreign, ofForeign.text) }).toEqual({
      ...ofFresh,
      text: without(fresh, ofFresh.text),
    });
    expect(await holdersOf(foreign)).toEqual(
      [owner.project, ...(question === 'PUT of the file' ? [other.project] : [])].sort(),
    );
    await drainOutbox(env, Date.now(), { limit: 500 });
    expect(await objectsOf(foreign)).toHaveLength(1);
    expect((await openBlob(env, foreign.sha256))?.size).toBe(foreign.bytes.length);
  });

test('garbage for a foreign file is a mismatch, and an upload in parts without a part never completes', async () => {
  const [owner, other] = [await aTeam(), await aTeam()];
  const foreign = await aStoredFile(owner);
  expect((await put(foreign, new Uint8Array(foreign.bytes.length), other.key)).status).toBe(422);
  const begun = await asked(`/api/blobs/${foreign.sha256}/uploads`, other.key, json({ size: foreign.bytes.length }));
  expect(JSON.parse(begun.text)).toMatchObject({ state: 'open', verifiedBytes: 0 });
  const at = `/api/blobs/${foreign.sha256}/uploads/${(JSON.parse(begun.text) as Upload).id}`;
  expect((await asked(`${at}/complete`, other.key, { method: 'POST' })).status).toBe(409);
  expect(await holdersOf(foreign)).toEqual([owner.project]);
});

/** Sends a file as an upload of one part, and returns the last answer. */
async function inParts({ sha256 }: File, body: Uint8Array<ArrayBuffer>, key: string) {
  const begun = await (await call(`/api/blobs/${sha256}/uploads`, key, json({ size: body.length }))).json<Upload>();
  const at = `/api/blobs/${sha256}/uploads/${begun.id}`;
  const headers = { 'Content-Length': String(body.length), [PART_SHA256_HEADER]: await sha256Of(body) };
  expect((await call(`${at}/parts/1`, key, { method: 'PUT', body, headers })).status).toBe(200);
  await call(`${at}/complete`, key, { method: 'POST' });
  const status = await until('the upload has ended', async () => {
    const shown = await call(at, key);
    await shown.arrayBuffer();
    return shown.status !== 202 && shown.status;
  });
  return { status, at };
}

test('parts of garbage for a foreign file are a mismatch, and the right parts make a hold of one’s own', async () => {
  const [owner, other] = [await aTeam(), await aTeam()];
  const foreign = await aStoredFile(owner);
  expect((await inParts(foreign, new Uint8Array(foreign.bytes.length), other.key)).status).toBe(422);
  expect(await holdersOf(foreign)).toEqual([owner.project]);
  expect((await inParts(foreign, foreign.bytes, other.key)).status).toBe(200);
  expect(await holdersOf(foreign)).toEqual([owner.project, other.project].sort());
  await drainOutbox(env, Date.now(), { limit: 500 });
  expect(await objectsOf(foreign)).toHaveLength(1);
});

test('an upload of another holder is answered like one that never was', async () => {
  const [owner, other] = [await aTeam(), await aTeam()];
  const file = await aFile();
  const { id } = await (await call(`/api/blobs/${file.sha256}/uploads`, owner.key, json({ size: 5 }))).json<Upload>();
  for (const [method, rest] of [
    ['GET', ''],
    ['POST', '/complete'],
    ['PUT', '/parts/1'],
    ['DELETE', ''],
  ] as const) {
    const body = method === 'PUT' ? bytesOf('12345') : undefined;
    const headers = body && { 'Content-Length': '5', [PART_SHA256_HEADER]: await sha256Of(body) };
    const about = (upload: string | null) =>
      asked(`/api/blobs/${file.sha256}/uploads/${upload}${rest}`, other.key, { method, body, headers });
    const [foreign, none] = [await about(id), await about('u_none')];
    expect([foreign.status, foreign.text]).toEqual([404, none.text]);
  }
});

test('an upload that the former release began goes on with whoever names it, but proves nothing by itself', async () => {
  const [owner, other] = [await aTeam(), await aTeam()];
  const file = await aFile();
  const path = `/api/blobs/${file.sha256}/uploads`;
  const begun = async () => (await (await call(path, owner.key, json({ size: 5 }))).json<Upload>()).id!;
  const asFormerRelease = (id: string, state: string) =>
    runInDurableObject(env.UPLOADS.getByName(id), (_, { storage }) => {
      const { holder: _holder, ...record } = storage.kv.get<{ holder: string }>('upload')!;
      storage.kv.put('upload', { ...record, state });
    });
  const [open, stored, verifying] = [await begun(), await begun(), await begun()];
  await asFormerRelease(open, 'open');
  expect((await call(`${path}/${open}`, owner.key)).status).toBe(200);
  expect((await call(`${path}/${open}`, other.key)).status).toBe(404);
  // The former release did not read the parts of a file that it had.
  await asFormerRelease(stored, 'stored');
  expect((await call(`${path}/${stored}`, owner.key)).status).toBe(404);
  // No key asks for this upload, so the controller does not know who has sent it.
  await asFormerRelease(verifying, 'verifying');
  await runInDurableObject(env.UPLOADS.getByName(verifying), (_, { storage }) =>
    storage.setAlarm(Date.now() + HOUR_MS),
  );
  await runDurableObjectAlarm(env.UPLOADS.getByName(verifying));
  expect(await holdersOf(file)).toEqual([]);
});

test('two projects that upload one file at once both hold it, and one object stays', async () => {
  const [one, other] = [await aTeam(), await aTeam()];
  const file = await aFile();
  const answers = await Promise.all([one, other].map(({ key }) => put(file, file.bytes, key)));
  expect(answers.map(({ status, text }) => [status, JSON.parse(text).existed])).toEqual([
    [201, false],
    [201, false],
  ]);
  expect(await holdersOf(file)).toEqual([one.project, other.project].sort());
  await drainOutbox(env, Date.now(), { limit: 500 });
  const row = await db.select().from(blobs).where(eq(blobs.sha256, file.sha256)).get();
  expect(await objectsOf(file)).toEqual([row!.r2Key]);
});

test('the collection spares a file while one of its holders asks for it, and takes all holds with it', async () => {
  const [one, other] = [await aTeam(), await aTeam()];
  const file = await aStoredFile(one);
  await put(file, file.bytes, other.key);
  const later = (hours: number) => Date.now() + hours * HOUR_MS;
  await db.update(blobs).set({ touchedAt: 1 }).where(eq(blobs.sha256, file.sha256));
  const touch = (holder: string, at: number) =>
    db.update(blobHolds).set({ touchedAt: at }).where(eq(blobHolds.holder, holder));
  await touch(one.project, later(10));
  await retain(env, later(30));
  expect(await holdersOf(file)).toEqual([one.project, other.project].sort());
  await retain(env, later(35));
  expect([await holdersOf(file), await openBlob(env, file.sha256)]).toEqual([[], null]);
});

test('a hold that nobody uses for a month goes, though a build keeps the file', async () => {
  const [one, other] = [await aTeam(), await aTeam()];
  const file = await aStoredFile(one);
  await put(file, file.bytes, other.key);
  await insertBuild({ sourceSha256: file.sha256, projectId: one.project });
  const now = Date.now();
  const later = (days: number) => now + days * 24 * HOUR_MS;
  await db
    .update(blobHolds)
    .set({ touchedAt: later(20) })
    .where(eq(blobHolds.holder, one.project));
  // Each hour looks through a sixteenth of all.
  for (let hour = 0; hour < 16; hour++) await retain(env, later(31) + hour * HOUR_MS);
  expect(await holdersOf(file)).toEqual([one.project]);
  expect(await openBlob(env, file.sha256)).not.toBeNull();
});

test('a source is submitted from the lineage of the key, which makes it the project’s', async () => {
  const project = await insertProject();
  const rights = { ...RIGHTS_TO_ALL, projects: [project, await insertProject()] };
  const of = async () => createKey(env, { name: 'of two projects', scope: 'submit', rights }, Date.now());
  const [mine, other] = [await of(), await of()];
  const file = await aFile();
  await put(file, file.bytes, mine.secret);
  expect(await holdersOf(file)).toEqual([mine.key.id]);
  const request = json({ source: { sha256: file.sha256 }, command: 'make', platform: 'ios', project });
  expect((await asked('/api/builds', other.secret, request)).status).toBe(409);
  expect((await asked('/api/builds', mine.secret, request)).status).toBe(201);
  expect(await holdersOf(file)).toEqual([mine.key.id, project].sort());
  expect((await asked('/api/builds', other.secret, request)).status).toBe(201);
});

test('a key of several projects uploads for the one that it names, if it reaches it', async () => {
  const [one, foreign] = [await insertProject(), await insertProject()];
  const rights = { ...RIGHTS_TO_ALL, projects: [one, await insertProject()] };
  const { secret } = await createKey(env, { name: 'x', scope: 'submit', rights }, Date.now());
  const file = await aFile();
  const headers = { 'Content-Length': String(file.bytes.length) };
  const putFor = (project: string) =>
    asked(`/api/blobs/${file.sha256}?project=${project}`, secret, { method: 'PUT', body: file.bytes, headers });
  expect((await putFor(one)).status).toBe(201);
  expect(await holdersOf(file)).toEqual([one]);
  const [ofForeign, ofNone] = [await putFor(foreign), await putFor('prj_none')];
  expect([ofForeign.status, ofForeign.text.replace(foreign, 'P')]).toEqual([404, ofNone.text.replace('prj_none', 'P')]);
});

/** The entry of a report that names the file. */
const listing = (file: File) => ({ name: 'app.ipa', sha256: file.sha256, size: file.bytes.length });

test('a report that lists a foreign file is refused like one that lists a file that nobody has', async () => {
  const owner = await aTeam();
  const [foreign, fresh] = [await aStoredFile(owner), await aFile()];
  for (const by of ['run', 'worker'] as const)
    for (const type of ['succeed', 'fail'] as const) {
      const { workerId, key } = await insertWorker();
      await isUsed(key);
      const { buildId } = await runningBuild({}, { workerId });
      const secret = by === 'worker' ? key : await tokenFor(buildId, 1, 'run', workerId);
      const failure = type === 'fail' ? { verdict: 'build_failed', exitCode: 1 } : {};
      const tell = (file: File) =>
        asked(
          `/api/builds/${buildId}/reports`,
          secret,
          json({ type, attempt: 1, ...failure, artifacts: [listing(file)] }),
        );
      const [ofForeign, ofFresh] = [await tell(foreign), await tell(fresh)];
      expect([by, type, ofForeign.status]).toEqual([by, type, 409]);
      expect(ofForeign).toEqual(ofFresh);
      expect(JSON.parse(ofForeign.text).error.code).toBe('artifact_not_stored');
      // The worker of the attempt may have uploaded the file with its key, as old agents do.
      expect((await put(foreign, foreign.bytes, key)).status).toBe(201);
      expect((await tell(foreign)).status).toBe(200);
    }
});

test('a report names what its attempt has uploaded, and not what another attempt has', async () => {
  const [mine, other] = [await anAssignment(), await anAssignment()];
  const file = await anArtifact(other.assignment, 'app.ipa', unique('an app'));
  const said = { type: 'succeed' as const, artifacts: [file] };
  const own = await anArtifact(mine.assignment, 'app.ipa', unique('an app'));
  const withIcon = { type: 'succeed' as const, artifacts: [{ ...own, app: anApp(file.sha256) }] };
  for (const { assignment } of [mine, other]) await report(assignment, { type: 'start' });
  expect((await report(mine.assignment, said)).status).toBe(409);
  expect((await report(mine.assignment, withIcon)).status).toBe(409);
  expect((await report(other.assignment, said)).status).toBe(200);
});

test('a run token asks for the files of its own attempt alone', async () => {
  const owner = await aTeam();
  const [foreign, fresh] = [await aStoredFile(owner), await aFile()];
  const { buildId, token } = await runningBuild();
  for (const method of ['GET', 'HEAD']) {
    const about = (file: File) => asked(`/api/builds/${buildId}/blobs/${file.sha256}`, token, { method });
    expect(await about(foreign)).toEqual(await about(fresh));
    expect((await about(foreign)).status).toBe(409);
  }
});

test('an object that is not needed is deleted by work that its own batch has left', async () => {
  const [one, other] = [await aTeam(), await aTeam()];
  const file = await aStoredFile(one);
  const [kept] = await objectsOf(file);
  await put(file, file.bytes, other.key);
  const surplus = (await objectsOf(file)).filter((key) => key !== kept);
  const work = await db.select().from(outbox).where(eq(outbox.kind, 'delete_object'));
  expect(work.map(({ r2Key }) => r2Key)).toEqual(expect.arrayContaining(surplus));
  expect(work.map(({ r2Key }) => r2Key)).not.toContain(kept);
});

test('an untrusted key shares no file with its project: it builds what its own lineage has sent', async () => {
  const team = await aTeam();
  const file = await aStoredFile(team);
  const rights = { ...RIGHTS_TO_ALL, projects: [team.project], trusted: false, maxPriority: 0 };
  const { secret, key } = await createKey(env, { name: 'forks', scope: 'submit', rights }, Date.now());
  const [pool, never] = [unique('pool'), await aFile()];
  const answers = [file, never].map(async (one) => {
    const { status, text } = await asked('/api/builds', secret, submission(one, pool, team.project));
    return [status, without(one, text)];
  });
  const [known, unknown] = await Promise.all(answers);
  expect([known![0], known]).toEqual([409, unknown]);

  expect(await put(file, file.bytes, secret)).toMatchObject({ status: 201 });
  expect(await asked('/api/builds', secret, submission(file, pool, team.project))).toMatchObject({ status: 201 });
  await put(never, never.bytes, secret);
  await asked('/api/builds', secret, submission(never, pool, team.project));
  expect([await holdersOf(file), await holdersOf(never)]).toEqual([[key.id, team.project].sort(), [key.id]]);
});

test('no build slips in behind the revocation of its key', async () => {
  const team = await aTeam();
  const file = await aStoredFile(team);
  const project = (await findProject(env, team.project))!;
  const request = BuildRequest.parse({ source: { sha256: file.sha256 }, command: 'make', platform: 'ios' });
  const asking = (await findKey(env, team.key, Date.now()))!;
  expect((await call(`/api/keys/${team.keyId}`, env.ADMIN_KEY, { method: 'DELETE' })).status).toBe(200);
  expect(await submitBuild(env, request, project, asking, Date.now())).toMatchObject({ code: 'unauthorized' });
});
