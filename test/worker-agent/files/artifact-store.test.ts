import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { Connection } from '../../../client/request.ts';
import { ArtifactStore } from '../../../worker-agent/files/artifact-store.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { standInController, WORKER_KEY } from '../servers/stand-in-controller.ts';

const RUN_TOKEN = 'tb_run_of-the-attempt';

async function aStore() {
  const folder = temporaryDir();
  const controller = await standInController();
  controller.submit({ id: 'b1', command: 'true', source: Buffer.from('a source') });
  const worker = new Connection({ url: controller.url, key: WORKER_KEY });
  const client = new AttemptClient(worker.withKey(RUN_TOKEN));
  const store = new ArtifactStore({ buildId: 'b1', client, worker });
  const send = async (content: string) => {
    const path = join(folder.path, content);
    await writeFile(path, content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    const options = { signal: new AbortController().signal, giveUpAfterMs: 10_000 };
    return store.upload({ path, sha256, sizeBytes: content.length }, options);
  };
  /** Which requests for files came, with which credential. */
  const asked = () =>
    controller.requests
      .filter(({ path }) => path.includes('/blobs/'))
      .map(({ method, path, key }) => `${method} ${path.replace(/[0-9a-f]{64}/, 'FILE')} ${key}`);
  const end = async () => {
    await controller[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  };
  return { controller, send, asked, [Symbol.asyncDispose]: end };
}
const BY_ATTEMPT = `/api/builds/b1/blobs/FILE ${RUN_TOKEN}`;
const BY_WORKER = `/api/blobs/FILE ${WORKER_KEY}`;

test('an artifact is stored for its attempt, with the token of the attempt', async () => {
  await using store = await aStore();
  expect(await store.send('one')).toMatchObject({ ok: true, value: { existed: false } });
  await store.send('two');
  expect(store.asked()).toEqual([`GET ${BY_ATTEMPT}`, `PUT ${BY_ATTEMPT}`, `PUT ${BY_ATTEMPT}`]);
});

test('what the attempt has stored before is not sent again', async () => {
  await using store = await aStore();
  store.controller.blobs.set(createHash('sha256').update('one').digest('hex'), Buffer.from('one'));
  expect(await store.send('one')).toMatchObject({ ok: true, value: { existed: true } });
  expect(store.asked()).toEqual([`GET ${BY_ATTEMPT}`]);
});

test('a controller of the former release is asked once, and then gets all files with the key of the worker', async () => {
  await using store = await aStore();
  store.controller.formerRelease = true;
  for (const content of ['one', 'two']) expect((await store.send(content)).ok).toBe(true);
  expect(store.asked()).toEqual([`GET ${BY_ATTEMPT}`, `PUT ${BY_WORKER}`, `PUT ${BY_WORKER}`]);
});

test('a controller that goes back to the former release in between gets the rest with the key of the worker', async () => {
  await using store = await aStore();
  await store.send('one');
  store.controller.formerRelease = true;
  for (const content of ['two', 'three']) expect((await store.send(content)).ok).toBe(true);
  expect(store.asked().slice(-2)).toEqual([`PUT ${BY_WORKER}`, `PUT ${BY_WORKER}`]);
});
