import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LOG_APPEND_MAX_BYTES } from '#contract';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { Connection } from '../../../client/request.ts';
import { LogShipper, logTotal } from '../../../worker-agent/build-log/shipper.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { standInController } from '../servers/stand-in-controller.ts';

async function shipping({ cadenceMs, followers = 1 }: { cadenceMs?: number; followers?: number } = {}) {
  const dir = temporaryDir();
  const path = join(dir.path, 'build.log');
  writeFileSync(path, '');
  const controller = await standInController();
  controller.followers = followers; // one: the quick cadence
  const build = controller.submit({ id: 'b1', command: 'true', source: Buffer.from('x') });
  const client = new AttemptClient(
    new Connection({ url: controller.url, key: 'k', requestMs: 30_000, transferStallMs: 30_000 }),
  );
  let length = 0;
  const shipper = new LogShipper({
    client,
    buildId: 'b1',
    attempt: 1,
    path,
    lengthBytes: () => length,
    emit: () => {},
    cadenceMs,
  });
  const stop = new AbortController();
  return {
    controller,
    build,
    shipper,
    path,
    stop,
    print(bytes: string | Buffer) {
      appendFileSync(path, bytes);
      length += Buffer.byteLength(bytes);
    },
    run: () => shipper.run(stop.signal),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await controller[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('a growing log arrives as it grows, and its end is known', async () => {
  await using one = await shipping();
  const done = one.run();
  one.print('first\n');
  await until(() => one.build.log.toString() === 'first\n', 'the first line');
  one.print('second\n');
  one.shipper.end();
  expect(await done).toEqual({ complete: true, message: 'all shipped' });
  expect(one.build.log.toString()).toBe('first\nsecond\n');
  expect(await logTotal(one.path)).toMatchObject({ length: 13 });
});

test('of an attempt that printed nothing the whole is known too', async () => {
  using dir = temporaryDir();
  const { length, sha256 } = await logTotal(join(dir.path, 'build.log'));
  expect([length, sha256]).toEqual([0, createHash('sha256').digest('hex')]);
});

test('a large log goes in requests of bounded size', async () => {
  await using one = await shipping();
  const bytes = randomBytes(3 * LOG_APPEND_MAX_BYTES + 5);
  one.print(bytes);
  one.shipper.end();
  expect(await one.run()).toMatchObject({ complete: true });
  expect(one.build.log.equals(bytes)).toBe(true);
  expect(one.controller.requests.filter(({ method }) => method === 'PUT')).toHaveLength(4);
});

test('after a restart it goes on where the controller stands', async () => {
  await using one = await shipping();
  one.print('abcdef');
  one.build.log = Buffer.from('abc');
  one.shipper.end();
  expect(await one.run()).toMatchObject({ complete: true });
  expect(one.build.log.toString()).toBe('abcdef');
});

test('after a silence the first bytes go at once, and no more of them than the cadence allows', async () => {
  await using one = await shipping({ cadenceMs: 3_600_000, followers: 0 });
  void one.run().catch(() => {});
  one.print('first\n');
  one.shipper.poke();
  await until(() => one.build.log.toString() === 'first\n', 'the first line');
  for (const line of ['second\n', 'third\n']) {
    one.print(line);
    one.shipper.poke();
  }
  one.shipper.end();
  await until(() => one.build.log.toString() === 'first\nsecond\nthird\n', 'the rest, at the end');
  expect(one.controller.requests.filter(({ method }) => method === 'PUT')).toHaveLength(2);
});

test('a gap is filled from the expected offset', async () => {
  await using one = await shipping();
  const done = one.run();
  one.print('abc');
  await until(() => one.build.log.length === 3, 'the first bytes');
  one.build.log = Buffer.from('a'); // the controller has lost what it had
  one.print('def');
  one.shipper.end();
  expect(await done).toMatchObject({ complete: true });
  expect(one.build.log.toString()).toBe('abcdef');
});

test('an append whose answer was lost is not there twice', async () => {
  await using one = await shipping();
  one.print('abc');
  one.controller.intercept = ({ count }, response) => {
    if (count > 1) return false;
    one.build.log = Buffer.from('abc');
    response.destroy();
    return true;
  };
  one.shipper.end();
  expect(await one.run()).toMatchObject({ complete: true });
  expect(one.build.log.toString()).toBe('abc');
});

test('an outage is waited out', async () => {
  await using one = await shipping();
  one.print('abc');
  one.controller.intercept = ({ count }, response) => {
    if (count <= 2) response.writeHead(503).end();
    return count <= 2;
  };
  one.shipper.end();
  expect(await one.run()).toMatchObject({ complete: true });
  expect(one.build.log.toString()).toBe('abc');
});

test('too large a request is halved', async () => {
  await using one = await shipping();
  one.controller.intercept = ({ count }, response) => {
    if (count > 1) return false;
    response.writeHead(413).end(JSON.stringify({ error: { code: 'too_large', message: 'too large' } }));
    return true;
  };
  one.print(randomBytes(LOG_APPEND_MAX_BYTES));
  one.shipper.end();
  expect(await one.run()).toMatchObject({ complete: true });
  expect(one.build.log.length).toBe(LOG_APPEND_MAX_BYTES);
  expect(one.controller.requests.filter(({ method }) => method === 'PUT')).toHaveLength(3);
});

test('a sealed log takes no more, and that is an end', async () => {
  await using one = await shipping();
  one.print('abc');
  one.controller.intercept = (_request, response) => {
    response.writeHead(410).end(JSON.stringify({ error: { code: 'log_sealed', message: 'sealed' } }));
    return true;
  };
  expect(await one.run()).toEqual({ complete: false, message: 'sealed' });
});

test('the signal ends it', async () => {
  await using one = await shipping();
  const done = one.run();
  one.stop.abort(new Error('enough'));
  await expect(done).rejects.toThrow('enough');
});
