import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { isDeeperThan } from '../../../controller/validate.ts';
import { bytesOf, call, errorOf } from '../factories/rows.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const post = (path: string, body: BodyInit, headers: Record<string, string> = JSON_TYPE) =>
  call(path, env.ADMIN_KEY, { method: 'POST', body, headers });

test('a body must say that it is JSON, and be it', async () => {
  const key = JSON.stringify({ name: 'x', scope: 'submit' });
  for (const type of ['text/plain', 'application/jsonx', 'application/x-www-form-urlencoded'])
    expect(await errorOf(await post('/api/keys', key, { 'Content-Type': type }))).toEqual([400, 'invalid_request']);
  expect((await post('/api/keys', key, { 'Content-Type': 'application/json; charset=utf-8' })).status).toBe(201);
  for (const body of ['', '{', 'null', '[]', '"x"', '{"name":"x","scope":"submit"} {}', '{"name":"x",}'])
    expect(await errorOf(await post('/api/keys', body))).toEqual([400, 'invalid_request']);
  const broken = new Uint8Array([...bytesOf('{"name":"'), 0xff, 0xfe, ...bytesOf('","scope":"submit"}')]);
  expect(await errorOf(await post('/api/keys', broken))).toEqual([400, 'invalid_request']);
});

test('each route bounds its body, whether or not the length is announced', async () => {
  const long = JSON.stringify({ name: 'x'.repeat(20_000), scope: 'submit' });
  expect(await errorOf(await post('/api/keys', long))).toEqual([413, 'too_large']);
  const stream = new Blob([long]).stream();
  expect(await errorOf(await post('/api/keys', stream))).toEqual([413, 'too_large']);
  const huge = 'x'.repeat(1_100_000);
  expect(await errorOf(await post('/api/builds', huge))).toEqual([413, 'too_large']);
});

test('a question that announces a body is answered as any other', async () => {
  const headers = { 'Transfer-Encoding': 'chunked' };
  expect((await call('/api/me', env.ADMIN_KEY, { headers })).status).toBe(200);
  expect(await errorOf(await call('/api/me', null, { headers }))).toEqual([401, 'unauthorized']);
});

test('depth is counted outside of strings, before anything is parsed', async () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  expect(isDeeperThan(3, nested(3))).toBe(false);
  expect(isDeeperThan(3, nested(4))).toBe(true);
  expect(isDeeperThan(1, '{"a":"[[[[","b\\\\":"{\\"["}')).toBe(false);
  expect(isDeeperThan(1, '["\\\\",[')).toBe(true);
  const deep = `{"name":"x","scope":"submit","extra":${nested(7_000)}}`;
  const refused = await post('/api/keys', deep);
  expect(refused.status).toBe(400);
  expect(await refused.text()).toContain('deeper than 32');
});

test('answers cannot be framed, run or kept by a browser', async () => {
  for (const answer of [
    await call('/health', null),
    await call('/nowhere', null),
    await call('/api/keys', env.ADMIN_KEY),
  ]) {
    expect(answer.headers.get('Content-Security-Policy')).toContain("default-src 'none'; frame-ancestors 'none'");
    expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect(answer.headers.get('Strict-Transport-Security')).toContain('max-age');
    expect(answer.headers.get('Cache-Control')).toBe('no-store');
  }
});

test('an error of ours says nothing of our insides', async () => {
  const broken = { ...env, DB: null };
  const { createApp } = await import('../../../controller/app.ts');
  const { SETTINGS } = await import('../../../controller/settings.ts');
  const headers = { 'X-API-Key': `tb_admin_${'x'.repeat(43)}` };
  const answer = await createApp(SETTINGS).request('/api/keys', { headers }, broken);
  expect(answer.status).toBe(500);
  expect(await answer.json()).toEqual({
    error: { code: 'internal', message: 'the controller failed; you may repeat the request' },
  });
});
