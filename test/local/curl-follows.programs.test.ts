/** Follows logs with curl, as people do, and reads the exit codes that a script would see. */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KeyCreated } from '#contract';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { packSource } from '../../client/packing/pack-source.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { type LocalController, startController } from '../../local/farm/controller.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { SAMPLE_DIR, sampleRequest } from '../../local/farm/sample.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';

/** curl's code for a body that broke off before its end. */
const BROKEN_OFF = 18;

const folder = temporaryDir();
let controller: LocalController;
let admin: Connection;
beforeAll(async () => {
  const entry = join(PROJECT_ROOT, 'test/local/short-streams.ts');
  controller = await startController({ stateDir: join(folder.path, 'controller'), entry });
  admin = new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY });
});
afterAll(async () => {
  await controller?.stop();
  folder[Symbol.dispose]();
});

async function queuedBuild() {
  const api = new BuildsClient(admin);
  const name = `mac-${randomUUID()}`;
  const { worker, key } = await new AdminClient(admin).registerWorker({ name, pool: name });
  const archive = await packSource(SAMPLE_DIR, join(folder.path, `${name}.tar.gz`));
  await api.upload(archive);
  const { id } = await api.submit({ ...sampleRequest(), pool: name, source: { sha256: archive.sha256 } });
  const claim = async () => {
    const client = new WorkerClient(new Connection({ url: controller.url, key }));
    const claimed = await client.claim(worker.id, { instanceId: randomUUID(), claimId: randomUUID() });
    if (!claimed.ok || !claimed.value.assignment) throw new Error(`nothing was claimed: ${JSON.stringify(claimed)}`);
    const attempt = new AttemptClient(admin.withKey(claimed.value.assignment.tokens.run));
    let whole = '';
    const prints = async (text: string) => {
      const bytes = new Uint8Array(Buffer.from(text));
      const offset = Buffer.byteLength(whole);
      whole += text;
      const answer = await attempt.appendLog(id, { attempt: 1, offset, bytes });
      if (!answer.ok) throw new Error(answer.message);
      return answer.value.followers;
    };
    const fails = () =>
      attempt.report(id, {
        type: 'fail',
        attempt: 1,
        verdict: 'build_failed',
        log: { length: Buffer.byteLength(whole), sha256: createHash('sha256').update(whole).digest('hex') },
      });
    return { prints, fails };
  };
  return { id, claim };
}

async function newKey(expiresInMs?: number) {
  const json = {
    name: 'curl',
    scope: 'submit',
    ...(expiresInMs && { expiresAt: new Date(Date.now() + expiresInMs).toISOString() }),
  };
  const made = await admin.call({ method: 'POST', path: '/api/keys', answer: KeyCreated, json });
  if (!made.ok) throw new Error(made.message);
  return made.value;
}

function curl(buildId: string, secret: string, accept = 'text/plain') {
  const url = `${controller.url}/api/builds/${buildId}/logs?follow=1`;
  const child = spawn('curl', ['-sN', '-H', `X-API-Key: ${secret}`, '-H', `Accept: ${accept}`, url], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let output = '';
  child.stdout.on('data', (part) => (output += part));
  return {
    shown: () => output,
    shows: (text: string) => until(() => output === text, `curl shows ${JSON.stringify(text)}`),
    kill: () => child.kill('SIGKILL'),
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
}

test('curl shows a log as it is, from the queue to its end, and exits with 0', async () => {
  const { id, claim } = await queuedBuild();
  const reader = curl(id, (await newKey()).secret);
  const { prints, fails } = await claim();
  await prints('one €\n');
  await reader.shows('one €\n');
  await prints('two\n');
  await reader.shows('one €\ntwo\n');
  await fails();
  expect([await reader.ended, reader.shown()]).toEqual([0, 'one €\ntwo\n']);
  // The log is sealed by now.
  const again = curl(id, (await newKey()).secret);
  expect([await again.ended, again.shown()]).toEqual([0, 'one €\ntwo\n']);
});

test('a stream that reaches its bound breaks off, and one of events asks to reconnect', async () => {
  const { id, claim } = await queuedBuild();
  const { prints } = await claim();
  await prints('one\n');
  const { secret } = await newKey();
  const [bare, events] = [curl(id, secret), curl(id, secret, 'text/event-stream')];
  expect([await bare.ended, bare.shown()]).toEqual([BROKEN_OFF, 'one\n']);
  expect(await events.ended).toBe(0);
  expect(events.shown()).toMatch(/event: reconnect\ndata: \{"attempt":1,"offset":4\}\n\n$/);
});

test('a stream breaks off when its key is revoked, and when it expires', async () => {
  const { id, claim } = await queuedBuild();
  const { prints } = await claim();
  await prints('one\n');
  const [revoked, expiring] = [await newKey(), await newKey(1_500)];
  // It has begun before the others, so its bound ends it before theirs would end them.
  const other = curl(id, (await newKey()).secret);
  await other.shows('one\n');
  const readers = [curl(id, revoked.secret), curl(id, expiring.secret)];
  for (const reader of readers) await reader.shows('one\n');
  const path = `/api/keys/${revoked.key.id}`;
  const answer = await fetch(`${controller.url}${path}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${controller.secrets.ADMIN_KEY}` },
  });
  expect(answer.status).toBe(200);
  const bothEnded = Promise.all(readers.map(({ ended }) => ended));
  expect(await Promise.race([bothEnded, other.ended])).toEqual([BROKEN_OFF, BROKEN_OFF]);
});

test('a reader that goes away is no longer counted as a follower', async () => {
  const { id, claim } = await queuedBuild();
  const { prints } = await claim();
  await prints('one\n');
  const reader = curl(id, (await newKey()).secret);
  await reader.shows('one\n');
  expect(await prints('two\n')).toBe(1);
  reader.kill();
  // The platform notices that a reader is gone when it writes to him.
  await until(async () => (await prints('more\n')) === 0, 'nobody follows', 5_000, 100);
});
