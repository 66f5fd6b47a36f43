/** Tests the calls about build numbers against a real controller. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { ProjectClient } from '../../client/project-client.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { sharedController } from '../set-up/controller/shared.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

const state = temporaryDir();
afterAll(() => state[Symbol.dispose]());

const NAME = 'build-numbers';

test('a counter is set, an attempt learns the number of its build, and a refusal has its code and its sentence', async () => {
  const { url, secrets } = await sharedController();
  const connection = new Connection({ url, key: secrets.ADMIN_KEY });
  const builds = new BuildsClient(connection);
  const projects = new ProjectClient(connection);
  const { worker, key } = await new AdminClient(connection).registerWorker({ name: NAME, pool: NAME });
  await connection.ask({ method: 'POST', path: '/api/projects', answer: z.object({}), json: { name: NAME } });
  const path = join(state.path, 'source');
  writeFileSync(path, 'a source');
  const sha256 = createHash('sha256').update('a source').digest('hex');
  await builds.upload({ path, sha256, sizeBytes: 8 });
  const { id } = await builds.submit({
    ...{ source: { sha256 }, platform: 'android', profile: 'production', project: NAME, pool: NAME },
  });
  const mac = new WorkerClient(connection.withKey(key!));
  const claim = { instanceId: 'mac', claimId: 'claim', platforms: ['android' as const] };
  const claimed = await mac.claim(worker.id, claim);
  if (!claimed.ok) throw new Error(claimed.message);
  const attempt = new AttemptClient(connection.withKey(claimed.value.assignment!.tokens.run));
  const request = { app: { id: 'com.example.app' }, increment: true };
  expect(await attempt.number(id, request)).toMatchObject({
    ok: false,
    code: 'number_not_seeded',
    message: expect.stringContaining(`\`PUT /api/projects/${NAME}/numbers/android/com.example.app\``),
  });
  expect(await projects.setCounter(NAME, 'android', 'com.example.app', 41)).toMatchObject({
    value: 41,
    was: null,
  });
  expect(await attempt.number(id, request)).toMatchObject({
    ok: true,
    value: { appId: 'com.example.app', buildNumber: 42 },
  });
  expect(await projects.counters(NAME)).toMatchObject([{ platform: 'android', value: 42, setBy: { keyId: 'admin' } }]);
  expect(await builds.build(id)).toMatchObject({ buildNumber: 42, app: { id: 'com.example.app', version: null } });
});
