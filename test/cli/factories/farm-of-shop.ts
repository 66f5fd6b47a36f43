/** Makes a controller with builds of a project `shop` in all their states, a Mac, and keys. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { AdminClient } from '../../../client/admin-client.ts';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { placeOfAttempt } from '../../../client/blob-requests.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { Connection } from '../../../client/request.ts';
import { uploadBlob } from '../../../client/upload.ts';
import { WorkerClient } from '../../../client/worker-client.ts';
import { startController } from '../../../local/farm/controller.ts';
import { SILENT_STORES } from '../../set-up/controller/silent-stores.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { expoBuild, type Run } from './expo-build.ts';

/** The agent's description of an app that is signed for the devices in its profile. */
const SHOP = {
  ...{ platform: 'ios' as const, kind: 'ipa' as const, id: 'com.example.shop', name: 'Shop', version: '1.4.0' },
  ...{ buildNumber: '42', minimumSystem: '16.0', signing: 'ad-hoc' as const, devices: 2 },
  ...{ profileExpiresAt: '2030-01-01T00:00:00.000Z', usesNonExemptEncryption: false, debuggable: null, icon: null },
};

export async function farmOfShop() {
  await using stack = new AsyncDisposableStack();
  const state = stack.use(temporaryDir());
  const controller = await startController({ stateDir: join(state.path, 'state'), ...SILENT_STORES });
  const { url, secrets } = controller;
  const admin = new Connection({ url, key: secrets.ADMIN_KEY });
  stack.defer(() => controller.stop());
  const call = async <T>(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> => {
    const headers = { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
    const response = await fetch(`${controller.url}${path}`, {
      method,
      headers,
      body: body ? JSON.stringify(body) : null,
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  /** The ids of a build that failed, of one that succeeded with an artifact, and of two that wait. */
  const ids = { failed: '', succeeded: '', queued: '', spare: '' };
  await call('POST', '/api/projects', { name: 'shop' });
  const client = new BuildsClient(admin);
  const source = join(state.path, 'source');
  writeFileSync(source, 'a source');
  const sha256 = createHash('sha256').update('a source').digest('hex');
  const file = { path: source, sha256, sizeBytes: 8 };
  await client.upload(file);
  const origin = {
    repository: 'github.com/acme/shop',
    branch: 'main',
    commit: 'a'.repeat(40),
    message: 'Mend it\n\nAll',
  };
  const request = { source: { sha256 }, platform: 'ios' as const, project: 'shop', origin };
  const { worker, key } = await new AdminClient(admin).registerWorker({ name: 'mac' });
  const mac = new WorkerClient(admin.withKey(key));
  const run = async (profile: string, end: (attempt: AttemptClient, id: string) => Promise<{ ok: boolean }>) => {
    const { id } = await client.submit({ ...request, profile });
    const claim = { instanceId: 'mac', claimId: profile, platforms: ['ios' as const] };
    const claimed = await mac.claim(worker.id, claim);
    if (!claimed.ok || !claimed.value.assignment) throw new Error('nothing was claimed');
    const attempt = new AttemptClient(admin.withKey(claimed.value.assignment.tokens.run));
    const beat = { attempt: 1, source: 'vm' as const, seq: 1, stage: 'building' as const };
    await attempt.heartbeat(id, worker.id, beat as never);
    await attempt.report(id, { type: 'start', attempt: 1 });
    const ended = await end(attempt, id);
    expect(ended).toMatchObject({ ok: true });
    return id;
  };
  ids.failed = await run('production', (attempt, id) =>
    attempt.report(id, { type: 'fail', attempt: 1, verdict: 'build_failed', message: 'xcodebuild', exitCode: 65 }),
  );
  ids.succeeded = await run('preview', async (attempt, id) => {
    const limits = { signal: AbortSignal.timeout(30_000), giveUpAfterMs: 10_000 };
    await uploadBlob(attempt.connection, file, { ...limits, place: placeOfAttempt(id) });
    const artifact = { name: 'Shop.ipa', sha256, size: 8, app: SHOP };
    return await attempt.report(id, { type: 'succeed', attempt: 1, artifacts: [artifact] });
  });
  ids.spare = (await client.submit({ ...request, platform: 'android', profile: 'spare' })).id;
  ids.queued = (await client.submit({ ...request, platform: 'android', profile: 'production' })).id;

  const as = (key: string, url = controller.url): Run => ({
    cwd: state.path,
    env: { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key, XDG_CONFIG_HOME: state.path },
  });
  const asAdmin = (args: string[], more: Run = {}) => expoBuild(args, { ...as(controller.secrets.ADMIN_KEY), ...more });

  /** A key that reaches the project shop alone. */
  const keyOfShop = async (may: string[] = []) =>
    await call<{ secret: string; key: { id: string } }>('POST', '/api/keys', {
      name: 'shop',
      scope: 'submit',
      projects: ['shop'],
      may,
    });
  const whole = stack.move();
  return {
    ...{ controller, admin, ids, call, as, asAdmin, keyOfShop },
    /** It has a file `source`. */
    folder: state.path,
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

/** An account of this machine, with nothing stored. */
export function account() {
  const dir = temporaryDir();
  const path = join(dir.path, 'expo-build', 'settings.json');
  const run = (args: string[], { env, input }: { env?: NodeJS.ProcessEnv; input?: string } = {}) =>
    expoBuild(args, {
      cwd: dir.path,
      env: { XDG_CONFIG_HOME: dir.path, ...env },
      ...(input !== undefined && { input }),
    });
  return { path, run, folder: dir.path, [Symbol.dispose]: dir[Symbol.dispose] };
}
