import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { attachment, contentType, parseRange } from '../../../controller/files/download.ts';
import { artifacts, buildInputs } from '../../../controller/schema/index.ts';
import { sealInputs } from '../../../controller/secrets/inputs.ts';
import {
  bytesOf,
  call,
  db,
  errorOf,
  insertAttempt,
  insertBlob,
  insertWorker,
  runningBuild,
  submitKey,
  tokenFor,
  unique,
} from '../factories/rows.ts';

const textOf = async (response: Response) => new TextDecoder().decode(await response.arrayBuffer());

async function insertArtifact(buildId: string, attempt: number, name: string, text: string) {
  const sha256 = await insertBlob(bytesOf(text));
  await db.insert(artifacts).values({ buildId, attempt, name, sha256, size: bytesOf(text).byteLength, createdAt: 1 });
  return sha256;
}

// ── Source and inputs ──────────────────────────────────────────────────────────────────────────────────────

test('the current attempt gets the source of its build, whole or in part', async () => {
  const text = unique('source');
  const sourceSha256 = await insertBlob(bytesOf(text));
  const { buildId, token } = await runningBuild({ sourceSha256 });
  const source = await call(`/api/builds/${buildId}/source`, token);
  expect(source.headers.get('ETag')).toBe(`"${sourceSha256}"`);
  expect(source.headers.get('Content-Length')).toBe(String(text.length));
  expect(await textOf(source)).toBe(text);
  const rest = await call(`/api/builds/${buildId}/source`, token, { headers: { Range: 'bytes=3-' } });
  expect([rest.status, await textOf(rest)]).toEqual([206, text.slice(3)]);
});

test('the current attempt gets the inputs of its build, unsealed and uncached', async () => {
  const { buildId, token } = await runningBuild();
  expect(await (await call(`/api/builds/${buildId}/inputs`, token)).json()).toEqual({ env: {} });
  const sealed = await sealInputs(env, buildId, { env: { TOKEN: 'geheim' } });
  await db.insert(buildInputs).values({ buildId, ...sealed });
  const inputs = await call(`/api/builds/${buildId}/inputs`, token);
  expect(inputs.headers.get('Cache-Control')).toBe('no-store');
  expect(await inputs.json()).toEqual({ env: { TOKEN: 'geheim' } });
});

test('a source that is gone from R2 is refused by a name that the agent ends the build for', async () => {
  const sourceSha256 = await insertBlob(bytesOf(unique('source')));
  const { buildId, token } = await runningBuild({ sourceSha256 });
  const source = () => call(`/api/builds/${buildId}/source`, token);
  await (await source()).arrayBuffer();
  const { objects } = await env.BLOBS.list({ prefix: `blobs/${sourceSha256}/` });
  await env.BLOBS.delete(objects.map(({ key }) => key));
  expect(await errorOf(await source())).toEqual([422, 'inputs_gone']);
});

test('nobody but the current attempt gets source and inputs', async () => {
  const { buildId, token: first } = await runningBuild({ attempt: 2 }, { endedAt: 1 });
  await insertAttempt(buildId, 2, { workerId: 'wrk_2' });
  const second = await tokenFor(buildId, 2, 'run', 'wrk_2');
  const { key: worker } = await insertWorker();
  for (const file of ['source', 'inputs']) {
    const ask = async (key: string) => call(`/api/builds/${buildId}/${file}`, key);
    expect((await ask(second)).status).toBe(200);
    expect(await errorOf(await ask(first))).toEqual([409, 'stale_attempt']);
    expect(await errorOf(await ask(await tokenFor(buildId, 2, 'vm')))).toEqual([403, 'forbidden']);
    expect(await errorOf(await ask(worker))).toEqual([403, 'forbidden']);
    expect(await errorOf(await ask(await submitKey()))).toEqual([403, 'forbidden']);
    expect(await errorOf(await call(`/api/builds/bld_none/${file}`, await tokenFor('bld_none')))).toEqual([
      404,
      'not_found',
    ]);
  }
});

test('an attempt that has ended gets nothing any more', async () => {
  const { buildId, token } = await runningBuild({}, { endedAt: 1 });
  for (const file of ['source', 'inputs'])
    expect(await errorOf(await call(`/api/builds/${buildId}/${file}`, token))).toEqual([410, 'attempt_ended']);
});

// ── Artifacts ──────────────────────────────────────────────────────────────────────────────────────────────

test('artifacts are listed, and the newest of a name is the one that is meant', async () => {
  const { buildId } = await runningBuild({ attempt: 2 }, { endedAt: 1 });
  await insertAttempt(buildId, 2);
  await insertArtifact(buildId, 1, 'out/App.ipa', 'old');
  const sha256 = await insertArtifact(buildId, 2, 'out/App.ipa', 'new!');
  const key = await submitKey();
  const list = await call(`/api/builds/${buildId}/artifacts`, key);
  expect(await list.json()).toMatchObject({
    artifacts: [{ attempt: 1 }, { attempt: 2, name: 'out/App.ipa', sha256, size: 4 }],
  });

  const app = await call(`/api/builds/${buildId}/artifacts/out/App.ipa`, key);
  expect(await textOf(app)).toBe('new!');
  expect(Object.fromEntries(app.headers)).toMatchObject({
    'content-type': 'application/octet-stream',
    'content-length': '4',
    'content-disposition': `attachment; filename="App.ipa"; filename*=UTF-8''App.ipa`,
    etag: `"${sha256}"`,
    'x-content-sha256': sha256,
    'x-content-type-options': 'nosniff',
  });
  expect(await textOf(await call(`/api/builds/${buildId}/artifacts/out/App.ipa?attempt=1`, key))).toBe('old');
});

test('what is there already is not sent again, and what was broken off goes on', async () => {
  const { buildId } = await runningBuild();
  const sha256 = await insertArtifact(buildId, 1, 'a.txt', '0123456789');
  const key = await submitKey();
  const get = (headers: Record<string, string>, method = 'GET') =>
    call(`/api/builds/${buildId}/artifacts/a.txt`, key, { headers, method });
  expect((await get({ 'If-None-Match': `"other", W/"${sha256}"` })).status).toBe(304);
  expect((await get({ 'If-None-Match': '"other"' })).status).toBe(200);

  const part = await get({ Range: 'bytes=2-4' });
  expect([part.status, part.headers.get('Content-Range'), await part.text()]).toEqual([206, 'bytes 2-4/10', '234']);
  expect(await (await get({ Range: 'bytes=-3' })).text()).toBe('789');
  expect((await get({ Range: 'bytes=2-4', 'If-Range': `"${sha256}"` })).status).toBe(206);
  expect((await get({ Range: 'bytes=2-4', 'If-Range': '"other"' })).status).toBe(200);
  expect((await get({ Range: 'bytes=10-' })).status).toBe(416);

  const head = await get({}, 'HEAD');
  expect([head.status, head.headers.get('Content-Length'), await head.text()]).toEqual([200, '10', '']);
});

test('an empty artifact is an artifact', async () => {
  const { buildId } = await runningBuild();
  await insertArtifact(buildId, 1, 'empty', '');
  const empty = await call(`/api/builds/${buildId}/artifacts/empty`, await submitKey());
  expect([empty.status, await textOf(empty)]).toEqual([200, '']);
});

test('what is not there is said to be, and what cannot be a name is refused', async () => {
  const { buildId } = await runningBuild();
  const key = await submitKey();
  expect(await errorOf(await call(`/api/builds/${buildId}/artifacts/none`, key))).toEqual([404, 'not_found']);
  expect(await errorOf(await call('/api/builds/bld_none/artifacts', key))).toEqual([404, 'not_found']);
  for (const name of ['a%2F..%2Fb', '%2Fetc', 'a%5Cb', 'a%00b'])
    expect(await errorOf(await call(`/api/builds/${buildId}/artifacts/${name}`, key))).toEqual([
      400,
      'invalid_request',
    ]);
  expect((await call(`/api/builds/${buildId}/artifacts`, (await insertWorker()).key)).status).toBe(403);
});

test('a range is read as HTTP has it', () => {
  expect(parseRange('bytes=0-0', 10)).toEqual({ offset: 0, length: 1 });
  expect(parseRange('bytes=5-', 10)).toEqual({ offset: 5, length: 5 });
  expect(parseRange('bytes=5-99', 10)).toEqual({ offset: 5, length: 5 });
  expect(parseRange('bytes=-99', 10)).toEqual({ offset: 0, length: 10 });
  for (const none of [null, '', 'bytes=-', 'bytes=4-2', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b'])
    expect(parseRange(none, 10)).toBeNull();
  for (const [header, size] of [
    ['bytes=10-', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
    ['bytes=-1', 0],
  ] as const)
    expect(parseRange(header, size)).toBe('unsatisfiable');
});

test('no name breaks out of its header', () => {
  expect(attachment('a/b/My App.ipa')).toBe(`attachment; filename="My App.ipa"; filename*=UTF-8''My%20App.ipa`);
  expect(attachment('a"b;c\\d.txt')).toBe(`attachment; filename="a_b;c_d.txt"; filename*=UTF-8''a%22b%3Bc%5Cd.txt`);
  expect(attachment('Übung.log')).toBe(`attachment; filename="_bung.log"; filename*=UTF-8''%C3%9Cbung.log`);
  expect(attachment('\ud800.txt')).toContain(`filename*=UTF-8''%EF%BF%BD.txt`);
  expect(contentType('a/b.TXT')).toBe('text/plain; charset=utf-8');
  expect(contentType('evil.html')).toBe('application/octet-stream');
  expect(contentType('constructor')).toBe('application/octet-stream');
  expect(contentType('x.constructor')).toBe('application/octet-stream');
});
