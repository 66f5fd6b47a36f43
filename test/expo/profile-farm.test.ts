/**
 * Builds a profile of eas.json with everything real but macOS: the controller, the agent and its plan, the
 * guest scripts in a simulated VM, and Expo's engine. EXPO_ENGINE=all also builds npm's template for the
 * simulator.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { explainBuild } from '../../client/plan/explain-build.ts';
import { type Farm, startFarm } from '../../local/farm/farm.ts';
import { filesInFolder } from '../client/project/factories/files-of.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { prepareImage } from './factories/engine-image.ts';
import { processesWith } from './factories/engine-vm.ts';
import { watchNetwork } from './factories/network.ts';
import { makeSigningMaterial, PASSWORD } from './factories/signing-material.ts';
import { BUNDLE_ID, GREETINGS, makeRealProject, TARGET } from './projects/real-projects.ts';
import { writeTinyProject } from './projects/tiny-project.ts';

const WITHIN_MS = 420_000;
const TOKEN = 'token-of-the-build-0123456789';
const EAS_JSON = {
  cli: { appVersionSource: 'local' },
  build: { production: { credentialsSource: 'local' } },
};
const CREDENTIALS = {
  ios: {
    provisioningProfilePath: 'certificates/example.mobileprovision',
    distributionCertificate: { path: 'certificates/dist.p12', password: PASSWORD },
  },
};

async function endOf(farm: Farm, id: string) {
  const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: WITHIN_MS });
  let log = '';
  for await (const text of farm.api.followLog(id, AbortSignal.timeout(WITHIN_MS))) log += text;
  return { build, log, names: build.artifacts.map(({ name }) => name).sort() };
}

test('a signed build that fails shows no secret, and one that is cancelled leaves nothing', async () => {
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
  const ended = (id: string) => endOf(farm, id);
  const said = await explainBuild({
    ...{ platform: 'ios', profile: 'production', appRoot: '.', originVariables: {}, imageNames: null },
    ...{ files: await filesInFolder(project), now: new Date() },
    inputs: { env: { ...env, SOME_TOKEN: TOKEN }, secretNames: ['SOME_TOKEN'], secretFiles: request.secretFiles },
  });
  expect(said).toMatchObject({ refusal: null, project: { engine: { engine: 'plugin' } } });

  writeFileSync(join(folder, 'fail/import-certificate'), '');
  const bad = await ended((await farm.submit(request, project)).id);
  expect([bad.build.status, bad.build.verdict?.code]).toEqual(['failed', 'build_failed']);
  expect(bad.log).toContain('fastlane run import_certificate');
  for (const note of said.notes) expect(bad.log).toContain(`[tartbeat] ${note}\n`);
  for (const [name, secret] of Object.entries({ ...signing.secrets, token: Buffer.from(TOKEN) }))
    expect(bad.log.includes(secret.toString('latin1')), name).toBe(false);
  rmSync(join(folder, 'fail/import-certificate'));

  writeFileSync(join(folder, 'hang/gym'), '');
  const hung = await farm.submit(request, project);
  for (const giveUpAt = performance.now() + WITHIN_MS; !existsSync(join(folder, 'began/gym')); await sleep(100))
    if (performance.now() > giveUpAt) throw new Error('gym did not begin');
  await farm.api.cancel(hung.id);
  expect((await ended(hung.id)).build.status).toBe('cancelled');
  await farm.waitForWorker('idle');
  expect([processesWith(`STAND_INS=${folder}`), await farm.vms()]).toEqual([[], []]);
}, 600_000);

test("npm's template is built from its eas.json alone, sees its secret files, gets the number of the counter, and asks the registry alone", async () => {
  using dir = temporaryDir();
  const at = (name: string) => join(dir.path, name);
  mkdirSync(at('material'));
  const signing = await makeSigningMaterial(at('material'), TARGET.managed, BUNDLE_ID);
  const project = at('project');
  await makeRealProject(project, { workflow: 'managed', manager: 'npm', appRoot: '.' });
  // The profile that `eas init` writes, and one for the simulator.
  const production = { autoIncrement: true, ios: { buildArtifactPaths: ['App.js'] } };
  const profiles = { production, simulator: { ios: { simulator: true } } };
  const easJson = { cli: { appVersionSource: 'remote' }, build: profiles };
  writeFileSync(join(project, 'eas.json'), JSON.stringify(easJson));
  const base64 = (path: string) => readFileSync(path).toString('base64');
  const ignored = ['.env.local', 'GoogleService-Info.plist'];
  const secretFiles = Object.fromEntries(ignored.map((name) => [name, base64(join(project, name))]));
  for (const name of ignored) rmSync(join(project, name));
  const signingFiles = {
    'certificates/dist.p12': base64(at('material/dist.p12')),
    'certificates/example.mobileprovision': base64(at('material/example.mobileprovision')),
  };

  using network = await watchNetwork(at('trace'));
  await using farm = await startFarm({ startAgents: false });
  const { folder, env } = await prepareImage(farm.mac(), dir.path, signing.fingerprint, network.wrapperInVm);
  await farm.startAgent();
  await farm.projects.setCounter('default', 'ios', BUNDLE_ID, 41);
  const request = {
    platform: 'ios' as const,
    env: { ...env, ...network.env, npm_config_cache: process.env.npm_config_cache ?? join(homedir(), '.npm') },
    artifacts: ['ios/TinyApp/Info.plist', 'ios/**/GoogleService-Info.plist'],
  };
  const artifact = async (id: string, name: string) => {
    const { path } = await farm.api.download(id, name, join(at(id), name));
    return readFileSync(path);
  };
  /** Checks that hold for both builds. */
  const check = async ({ build, log, names }: Awaited<ReturnType<typeof endOf>>, app: string) => {
    expect(build.status, `${JSON.stringify(build.verdict)}\n${log.slice(-8_000)}`).toBe('succeeded');
    expect(log).toMatch(/^\[tartbeat\] .*without an Expo account/);
    expect(names).toEqual(expect.arrayContaining([app, 'Tiny.app.dSYM.tar.gz', 'main.jsbundle.map']));
    const plist = names.find((name) => name.endsWith('/GoogleService-Info.plist'))!;
    expect((await artifact(build.id, plist)).toString()).toContain(GREETINGS.ignored);
    // npm asks nobody for what is in its cache.
    expect(network.hosts().filter((host) => host !== 'registry.npmjs.org:443')).toEqual([]);
    expect(network.connections() ?? []).toEqual([]);
    for (const [name, secret] of Object.entries({ ...signing.secrets, token: Buffer.from(TOKEN) }))
      expect((log + JSON.stringify(farm.mac().events)).includes(secret.toString('latin1')), name).toBe(false);
  };

  const forDevices = await farm.submit(
    {
      ...{ ...request, profile: 'production', secretFiles: { ...secretFiles, ...signingFiles } },
      secretEnv: { P12_PASSWORD: PASSWORD, SOME_TOKEN: TOKEN },
    },
    project,
  );
  await check(await endOf(farm, forDevices.id), 'Tiny.ipa');
  expect(await artifact(forDevices.id, 'Tiny.ipa')).toEqual(readFileSync(join(folder, 'app')));
  expect(await artifact(forDevices.id, 'App.js')).toEqual(readFileSync(join(project, 'App.js')));
  const bundle = readFileSync(join(folder, 'bundle'), 'latin1');
  for (const greeting of Object.values(GREETINGS)) expect(bundle.includes(greeting), greeting).toBe(true);
  // The globs of the request see what was built.
  expect((await artifact(forDevices.id, 'ios/TinyApp/Info.plist')).toString()).toMatch(
    /CFBundleVersion<\/key>\s*<string>42</,
  );

  expect(await farm.projects.counters('default')).toMatchObject([{ value: 42 }]);

  if (process.env.EXPO_ENGINE !== 'all') return;
  // The engine's own switch. A second bundle would show nothing more, and takes long.
  const withoutBundle = { ...request.env, EAS_BUILD_DISABLE_BUNDLE_JAVASCRIPT_STEP: '1' };
  const forSimulator = await farm.submit(
    { ...request, profile: 'simulator', env: withoutBundle, secretEnv: {}, secretFiles },
    project,
  );
  const simulated = await endOf(farm, forSimulator.id);
  await check(simulated, 'Tiny.app.tar.gz');
  expect(simulated.log).toContain('gets no build number');
  expect(simulated.log).not.toContain('[EAGER_BUNDLE]');
  expect(await farm.projects.counters('default')).toMatchObject([{ value: 42 }]);
}, 900_000);
