/**
 * Builds a profile of eas.json with everything real but macOS: the controller, the agent and its plan, the
 * guest scripts in a simulated VM, and Expo's engine.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startFarm } from '../../local/farm/farm.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { prepareImage } from './engine-image.ts';
import { processesWith } from './engine-vm.ts';
import { makeSigningMaterial, PASSWORD } from './signing-material.ts';
import { writeTinyProject } from './tiny-project.ts';

const WITHIN_MS = 180_000;
const TOKEN = 'token-of-the-build-0123456789';
const EAS_JSON = {
  cli: { appVersionSource: 'local' },
  build: { production: { credentialsSource: 'local', ios: { buildArtifactPaths: ['notes/*.txt'] } } },
};
const CREDENTIALS = {
  ios: {
    provisioningProfilePath: 'certificates/example.mobileprovision',
    distributionCertificate: { path: 'certificates/dist.p12', password: PASSWORD },
  },
};

test('a signed profile is planned, built by the real engine in a VM, and its app comes back; no failure shows a secret; a cancel leaves nothing', async () => {
  using dir = temporaryDir();
  const material = join(dir.path, 'material');
  mkdirSync(material);
  const signing = await makeSigningMaterial(material, 'Tiny', 'dev.example.tiny');
  const project = join(dir.path, 'project');
  writeTinyProject(project);
  writeFileSync(join(project, 'eas.json'), JSON.stringify(EAS_JSON));
  const file = (name: string) => readFileSync(join(material, name)).toString('base64');

  await using farm = await startFarm({ startAgents: false });
  const { folder, env } = await prepareImage(farm.mac(), dir.path, signing.fingerprint);
  await farm.startAgent();
  const request = {
    ...{ platform: 'ios' as const, profile: 'production', env, secretEnv: { SOME_TOKEN: TOKEN } },
    secretFiles: {
      'credentials.json': Buffer.from(JSON.stringify(CREDENTIALS)).toString('base64'),
      'certificates/dist.p12': file('dist.p12'),
      'certificates/example.mobileprovision': file('example.mobileprovision'),
    },
  };
  const ended = async (id: string) => {
    const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: WITHIN_MS });
    let log = '';
    for await (const text of farm.api.followLog(id, AbortSignal.timeout(WITHIN_MS))) log += text;
    return { build, log, names: build.artifacts.map(({ name }) => name).sort() };
  };

  const good = await farm.submit(request, project);
  const built = await ended(good.id);
  expect(built.build.status, `${JSON.stringify(built.build.verdict)}\n${built.log}`).toBe('succeeded');
  expect(built.names).toEqual(['Tiny.app.dSYM.tar.gz', 'Tiny.ipa', 'build notes.txt', 'main.jsbundle.map']);
  const app = await farm.api.download(good.id, 'Tiny.ipa', join(dir.path, 'Tiny.ipa'));
  expect(readFileSync(app.path)).toEqual(readFileSync(join(folder, 'app')));

  writeFileSync(join(folder, 'fail/import-certificate'), '');
  const bad = await ended((await farm.submit(request, project)).id);
  expect([bad.build.status, bad.build.verdict?.code]).toEqual(['failed', 'build_failed']);
  expect(bad.log).toContain('fastlane run import_certificate');
  for (const [name, secret] of Object.entries({ ...signing.secrets, token: Buffer.from(TOKEN) }))
    expect(bad.log.includes(secret.toString('latin1')), name).toBe(false);
  rmSync(join(folder, 'fail/import-certificate'));

  writeFileSync(join(folder, 'hang/gym'), '');
  rmSync(join(folder, 'began/gym'));
  const hung = await farm.submit(request, project);
  for (const giveUpAt = performance.now() + WITHIN_MS; !existsSync(join(folder, 'began/gym')); await sleep(100))
    if (performance.now() > giveUpAt) throw new Error('gym did not begin');
  await farm.api.cancel(hung.id);
  expect((await ended(hung.id)).build.status).toBe('cancelled');
  await farm.waitForWorker('idle');
  expect([processesWith(`STAND_INS=${folder}`), await farm.vms()]).toEqual([[], []]);
}, 600_000);
