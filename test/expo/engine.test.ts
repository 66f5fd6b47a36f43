/**
 * Builds with Expo's real local engine, by the guest scripts that the agent calls. Only the programs of a Mac
 * or an Android SDK are stand-ins. EXPO_ENGINE=all lets every phase fail and hang; otherwise one does.
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ENGINE } from './factories/engine-packages.ts';
import { type EngineBuild, type EngineVm, engineVm, type RunningBuild, textInArchive } from './factories/engine-vm.ts';
import { makeSigningMaterial, PASSWORD, type SigningMaterial } from './factories/signing-material.ts';
import { addExpo, writeTinyProject } from './projects/tiny-project.ts';

const isWhole = process.env.EXPO_ENGINE === 'all';
const TOKEN = 'token-of-the-build-0123456789';
const ENVIRONMENT = [{ name: 'SOME_TOKEN', value: TOKEN, type: 'string' }];
const simulator: EngineBuild = {
  job: { platform: 'ios', type: 'generic', simulator: true, secrets: { environmentSecrets: ENVIRONMENT } },
};
const device = ({ iosCredentials }: SigningMaterial, more: Record<string, unknown> = {}): EngineBuild => ({
  job: {
    platform: 'ios',
    type: 'generic',
    secrets: { buildCredentials: iosCredentials, environmentSecrets: ENVIRONMENT },
    version: { buildNumber: '77' },
    ...more,
  },
});
const android = ({ androidCredentials }: SigningMaterial, more: Record<string, unknown> = {}): EngineBuild => ({
  job: {
    platform: 'android',
    type: 'generic',
    secrets: { buildCredentials: androidCredentials, environmentSecrets: ENVIRONMENT },
    version: { versionCode: '78' },
    ...more,
  },
});

/** A build of a project without native folders: Expo makes them, and bundles before the native build. */
const managed = (signing: SigningMaterial): EngineBuild => ({
  ...device(signing, { type: 'managed' }),
  metadata: { sdkVersion: '56.0.0' },
});

/** A VM, the tiny project, and signing material that its stand-ins know. */
async function setUp(options?: Parameters<typeof engineVm>[0]) {
  const vm = await engineVm(options);
  const project = join(vm.dir, 'project');
  writeTinyProject(project);
  const material = join(vm.dir, 'material');
  mkdirSync(material);
  const signing = await makeSigningMaterial(material, 'Tiny', 'dev.example.tiny');
  writeFileSync(join(vm.standIns, 'fingerprint'), signing.fingerprint);
  const secrets = { ...signing.secrets, token: Buffer.from(TOKEN) };
  const app = readFileSync(join(vm.standIns, 'app'));
  return { vm, project, signing, secrets, app, [Symbol.dispose]: () => vm[Symbol.dispose]() };
}

const nothingLeft = (vm: EngineVm, secrets: Record<string, Buffer>) =>
  expect({ processes: vm.processes(), files: vm.filesWith(secrets) }).toEqual({ processes: [], files: [] });

const phases = (log: string) => [...new Set([...log.matchAll(/^\[([A-Z_]+)\] /gm)].map(([, phase]) => phase))];

test('the engine that is tested is the one that the guest script and the image want', () => {
  const script = readFileSync(join(import.meta.dirname, '../../vm-image/guest/engine-plugin.sh'), 'utf8');
  const pins = readFileSync(join(import.meta.dirname, '../../vm-image/provision/versions.sh'), 'utf8');
  const [, version] = /engine_version=(\S+)/.exec(script)!;
  expect([`eas-cli-local-build-plugin@${version}`, /^EXPO_ENGINE_VERSION=(\S+)/m.exec(pins)?.[1]]).toEqual([
    ENGINE,
    version,
  ]);
});

test('an app for the simulator comes back under its name, with symbols and source map, and nothing is left', async () => {
  using all = await setUp();
  const { vm, project, secrets } = all;
  const build = await vm.start(project, simulator);
  const code = await build.ended();
  expect(code, build.log()).toBe(0);
  expect(build.artifacts()).toEqual(['Tiny.app.dSYM.tar.gz', 'Tiny.app.tar.gz', 'main.jsbundle.map']);
  expect(phases(build.log())).toContain('RUN_FASTLANE');
  expect(build.log()).toContain('[tartbeat] Profile production, built by the engine plugin.\n');
  nothingLeft(vm, secrets);
  // The globs of the request see what was built.
  expect(readFileSync(join(build.source, 'ios/Podfile.lock'), 'utf8')).toBe('');
});

test('a signed app and its build artifacts come back, with the build number in its Info.plist', async () => {
  using all = await setUp();
  const { vm, project, signing, secrets, app } = all;
  const build = await vm.start(project, device(signing, { buildArtifactPaths: ['notes/*.txt', 'eas.json'] }));
  expect(await build.ended(), build.log()).toBe(0);
  expect(build.artifacts()).toEqual([
    'Tiny.app.dSYM.tar.gz',
    'Tiny.ipa',
    'eas.json',
    'main.jsbundle.map',
    'notes/build notes.txt',
  ]);
  expect(build.artifact('Tiny.ipa')).toEqual(app);
  expect(readFileSync(join(build.source, 'ios/Tiny/Info.plist'), 'utf8')).toContain('<string>77</string>');
  expect(vm.calls().map((call) => call.split(' ').slice(0, 3).join(' '))).toEqual(
    expect.arrayContaining([
      'fastlane run create_keychain',
      'fastlane run import_certificate',
      'security cms -D',
      'fastlane gym',
      'fastlane run delete_keychain',
    ]),
  );
  nothingLeft(vm, secrets);
});

test('a job that does not know the name of the target gets it from the app config', async () => {
  using all = await setUp();
  const { vm, project, signing, app } = all;
  const expo = join(project, 'node_modules/expo');
  mkdirSync(join(expo, 'bin'), { recursive: true });
  writeFileSync(join(expo, 'package.json'), '{"name":"expo","version":"56.0.0"}');
  writeFileSync(join(expo, 'bin/cli'), `console.log('loading'); console.log(JSON.stringify({ name: "T_i-n y" }));`);
  const iosCredentials = { '@TARGET@': signing.iosCredentials.Tiny };
  const variables = { ask_target: '1', manager_install: 'true' };
  const build = await vm.start(project, { ...device({ ...signing, iosCredentials }), variables });
  expect(await build.ended(), build.log()).toBe(0);
  expect(build.artifact('Tiny.ipa')).toEqual(app);
});

test('an Android app comes back, and neither the keystore nor its passwords stay', async () => {
  using all = await setUp();
  const { vm, project, signing, secrets, app } = all;
  const build = await vm.start(project, android(signing));
  expect(await build.ended(), build.log()).toBe(0);
  expect(build.artifacts()).toEqual(['app-release.aab', 'index.android.bundle.map']);
  expect(build.artifact('app-release.aab')).toEqual(app);
  nothingLeft(vm, secrets);
});

test('a failure in Xcode brings its log, without secrets, and the result bundle', async () => {
  using all = await setUp();
  const { vm, project, signing, secrets } = all;
  writeFileSync(join(vm.standIns, 'fail/gym'), '');
  const build = await vm.start(project, device(signing));
  expect(await build.ended()).toBe(1);
  const [bundle, logs, ...more] = build.artifacts();
  expect([bundle, logs, more]).toEqual([
    expect.stringMatching(/^result-bundle-\d+\.xcresult\.tar\.gz$/),
    'xcode-logs.tar.gz',
    [],
  ]);
  const text = textInArchive(join(build.source, 'tartbeat-artifacts/xcode-logs.tar.gz'));
  expect(text).toContain('error: cannot find type');
  expect(text).toContain('export SOME_TOKEN=***\n');
  nothingLeft(vm, secrets);
});

test('a job that the engine refuses, and a tool that is missing, are named in the last line of the log', async () => {
  using all = await setUp();
  const { vm, project } = all;
  const refused = await vm.start(project, { job: { ...simulator.job, appId: 7 } });
  expect(await refused.ended()).toBe(1);
  expect(refused.log()).toMatch(/\n\[tartbeat\] The engine refused the job: "appId" must be a string\n$/);

  const large = await vm.start(project, {
    job: { ...simulator.job, builderEnvironment: { env: { A: 'a'.repeat(100_000) } } },
  });
  expect(await large.ended()).toBe(1);
  expect(large.log()).toMatch(
    /\n\[tartbeat\] The engine refused the job: it has \d+ bytes, and at most 131000 can be handed over\. /,
  );

  rmSync(join(vm.root, 'opt/homebrew/bin/fastlane'));
  const missing = await vm.start(project, simulator);
  expect(await missing.ended()).toBe(1);
  expect(missing.log()).toMatch(/\n\[tartbeat\] A tool is missing: Fastlane\.\n$/);
  nothingLeft(vm, all.secrets);
});

test('an engine that does not end after its last line is ended, and its build has succeeded', async () => {
  using all = await setUp();
  const { vm, project } = all;
  const build = await vm.start(project, { ...simulator, env: { ENGINE_STAYS: '1' } });
  expect(await build.ended(), build.log()).toBe(0);
  nothingLeft(vm, all.secrets);
});

test('a working folder that is a link is refused, and one that a killed build has left is used again', async () => {
  using all = await setUp();
  const { vm, project } = all;
  const work = join(vm.home, '.tartbeat/expo/work');
  mkdirSync(join(vm.home, '.tartbeat/expo'), { recursive: true });
  symlinkSync(vm.dir, work);
  const refused = await vm.start(project, simulator);
  expect(await refused.ended()).toBe(1);
  expect(refused.log()).toContain(`[tartbeat] The engine's working folder ${work} is a link or a mount point, `);

  rmSync(work);
  mkdirSync(join(work, 'build'), { recursive: true });
  writeFileSync(join(work, 'build/left'), '');
  const built = await vm.start(project, simulator);
  expect(await built.ended(), built.log()).toBe(0);
});

if (isWhole)
  test('an image without the engine gets it from npm, and the log says how to have it in the image', async () => {
    using all = await setUp({ engine: false });
    const build = await all.vm.start(all.project, simulator);
    expect(await build.ended(), build.log()).toBe(0);
    expect(build.log()).toMatch(
      /\[tartbeat\] Installed eas-cli-local-build-plugin@\S+ from npm in \d+ s\. .*`expo-worker base-image --force`/,
    );
    expect(build.artifacts()).toContain('Tiny.app.tar.gz');
  });

interface Step {
  step: string;
  build: (signing: SigningMaterial) => EngineBuild;
  /** The phase that fails first. */
  phase: string;
  always?: boolean;
  /** No program runs in this phase. */
  cannotHang?: boolean;
}

const STEPS: Step[] = [
  { step: 'unpack', phase: 'PREPARE_PROJECT', build: device },
  { step: 'pre-install', phase: 'PRE_INSTALL_HOOK', build: device },
  { step: 'package-json', phase: 'READ_PACKAGE_JSON', build: device, cannotHang: true },
  { step: 'install', phase: 'INSTALL_DEPENDENCIES', build: device },
  { step: 'app-config', phase: 'READ_APP_CONFIG', build: device },
  { step: 'create-keychain', phase: 'PREPARE_CREDENTIALS', build: device },
  { step: 'import-certificate', phase: 'PREPARE_CREDENTIALS', build: device },
  { step: 'cms', phase: 'PREPARE_CREDENTIALS', build: device },
  { step: 'prebuild', phase: 'PREBUILD', build: managed },
  { step: 'pods', phase: 'INSTALL_PODS', build: device },
  { step: 'post-install', phase: 'POST_INSTALL_HOOK', build: device },
  { step: 'export-embed', phase: 'EAGER_BUNDLE', build: managed },
  { step: 'gym', phase: 'RUN_FASTLANE', build: device, always: true },
  { step: 'delete-keychain', phase: 'CLEAN_UP_CREDENTIALS', build: device },
  { step: 'gradle', phase: 'RUN_GRADLEW', build: android },
  { step: 'pre-upload-artifacts', phase: 'PRE_UPLOAD_ARTIFACTS_HOOK', build: device },
  { step: 'on-success', phase: 'ON_BUILD_SUCCESS_HOOK', build: device },
  { step: 'on-complete', phase: 'ON_BUILD_COMPLETE_HOOK', build: device },
];

/** build.sh sends KILL 5 s after TERM and then returns, so a process still there has lived for 6 s. */
async function cancelIn({ vm, secrets }: Awaited<ReturnType<typeof setUp>>, build: RunningBuild, step: string) {
  await build.began(step);
  expect(vm.processes().length).toBeGreaterThan(2);
  await build.kill();
  nothingLeft(vm, secrets);
  expect(build.log()).toContain('[tartbeat] The engine was stopped.\n');
}

for (const { step, phase, build: buildOf, cannotHang } of STEPS.filter(({ always }) => always || isWhole))
  test(`${step}: after a cancel and after a failure nothing is left, and the next attempt in the same VM succeeds`, async () => {
    using all = await setUp();
    const { vm, project, signing, secrets } = all;
    if (buildOf === managed) addExpo(project);

    if (!cannotHang) {
      writeFileSync(join(vm.standIns, 'hang', step), '');
      await cancelIn(all, await vm.start(project, buildOf(signing)), step);
      rmSync(join(vm.standIns, 'hang', step));
    }

    writeFileSync(join(vm.standIns, 'fail', step), '');
    const failed = await vm.start(project, buildOf(signing));
    expect(await failed.ended(), failed.log()).toBe(1);
    expect(failed.log()).toContain(`[${phase}]`);
    nothingLeft(vm, secrets);
    rmSync(join(vm.standIns, 'fail', step));

    const next = await vm.start(project, buildOf(signing));
    expect(await next.ended(), next.log()).toBe(0);
    expect(next.artifacts().length).toBeGreaterThan(1);
    nothingLeft(vm, secrets);
  });

/** The steps of Tartbeat before the engine, and the sentence that ends a build which fails in one. */
const BEFORE_THE_ENGINE = {
  tools: '[tartbeat] pnpm 9.9.9 could not be installed. The lines above say why.',
  install: '[tartbeat] The dependencies could not be installed: `npm ci` ended with exit code 1.',
  'app-config':
    '[tartbeat] The app config in the root of the source could not be read: `expo config` ended with exit code 1.',
};

if (isWhole)
  for (const [step, sentence] of Object.entries(BEFORE_THE_ENGINE))
    test(`${step}, before the engine: after a cancel and after a failure nothing is left, and the next attempt in the same VM succeeds`, async () => {
      using all = await setUp();
      const { vm, project, signing, secrets } = all;
      addExpo(project);
      const variables = { tools: 'pnpm 9.9.9', ask_number: '1' };
      const start = () => vm.start(project, { ...device(signing), variables });

      writeFileSync(join(vm.standIns, 'hang', step), '');
      await cancelIn(all, await start(), step);
      rmSync(join(vm.standIns, 'hang', step));

      writeFileSync(join(vm.standIns, 'fail', step), '');
      const failed = await start();
      expect(await failed.ended(), failed.log()).toBe(1);
      expect(failed.log()).toContain(sentence);
      expect(phases(failed.log())).toEqual([]);
      nothingLeft(vm, secrets);
      rmSync(join(vm.standIns, 'fail', step));

      const next = await start();
      await next.asked();
      writeFileSync(join(next.state, 'number'), '7');
      expect(await next.ended(), next.log()).toBe(0);
      expect(next.artifacts()).toContain('Tiny.ipa');
      nothingLeft(vm, secrets);
    });

if (isWhole)
  test('a build that waits for its number leaves nothing after a cancel, ends with a sentence if the answer is no number, and succeeds the next time', async () => {
    using all = await setUp();
    const { vm, project, signing, secrets } = all;
    addExpo(project);
    const start = async () => {
      const build = await vm.start(project, { ...device(signing), variables: { ask_number: '1' } });
      await build.asked();
      return build;
    };
    const cancelled = await start();
    await cancelled.kill();
    nothingLeft(vm, secrets);
    expect(cancelled.log()).toContain('[tartbeat] The engine was stopped.\n');

    const failed = await start();
    writeFileSync(join(failed.state, 'number'), 'seven');
    expect(await failed.ended(), failed.log()).toBe(1);
    expect(failed.log()).toContain('[tartbeat] The agent answered with `seven`, which is no build number.');
    nothingLeft(vm, secrets);

    const next = await start();
    writeFileSync(join(next.state, 'number'), '7');
    expect(await next.ended(), next.log()).toBe(0);
    nothingLeft(vm, secrets);
  });

/** The steps of a custom build that leave an app as Xcode and Gradle would. */
const CUSTOM = `build:
  name: Custom
  steps:
    - eas/checkout
    - run:
        name: Make
        command: |
          mkdir -p ios/build android/app/build/outputs
          cp "$STAND_INS/app" ios/build/Tiny.ipa
          cp "$STAND_INS/app" android/app/build/outputs/app-release.aab
          cat .git/HEAD >notes/head.txt
    - eas/find_and_upload_build_artifacts
`;

test('a custom build runs its own steps, with and without signing, and finds the .git of the source', async () => {
  using all = await setUp();
  const { vm, project, signing, secrets, app } = all;
  mkdirSync(join(project, '.eas/build'), { recursive: true });
  mkdirSync(join(project, '.git'));
  writeFileSync(join(project, '.git/HEAD'), 'ref: refs/heads/main\n');
  writeFileSync(join(project, '.eas/build/own.yml'), CUSTOM);
  const custom = { mode: 'custom', customBuildConfig: { path: '.eas/build/own.yml' } };
  for (const [name, build] of Object.entries({
    'Tiny.ipa': { job: { platform: 'ios', type: 'generic', secrets: { buildCredentials: {} }, ...custom } },
    'Tiny.ipa, signed': device(signing, custom),
    'app-release.aab': android(signing, custom),
  })) {
    const running = await vm.start(project, build);
    expect(await running.ended(), `${name}\n${running.log()}`).toBe(0);
    expect(running.artifact(name.split(',', 1)[0]!)).toEqual(app);
    expect(readFileSync(join(running.source, 'notes/head.txt'), 'utf8')).toBe('ref: refs/heads/main\n');
    expect(readFileSync(join(running.source, '.git/HEAD'), 'utf8')).toBe('ref: refs/heads/main\n');
    nothingLeft(vm, secrets);
  }
});

test('if the import of a certificate fails, its password is in the log in no form', async () => {
  using all = await setUp();
  const { vm, project, signing } = all;
  writeFileSync(join(vm.standIns, 'fail/import-certificate'), '');
  const build = await vm.start(project, device(signing));
  expect(await build.ended()).toBe(1);
  const forms = {
    plain: PASSWORD,
    'in JSON': JSON.stringify(PASSWORD).slice(1, -1),
    'in base64': Buffer.from(PASSWORD).toString('base64').slice(0, -4),
    'of a URL': encodeURIComponent(PASSWORD),
    'the p12': signing.secrets['p12 in base64']!.toString(),
  };
  expect(Object.keys(forms).filter((form) => build.log().includes(forms[form as keyof typeof forms]))).toEqual([]);
  expect(build.log()).toContain('certificate_password:***');
});
