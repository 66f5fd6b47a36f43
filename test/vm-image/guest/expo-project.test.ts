/** Runs the parts of a profile build that read the project in the VM, with a stand-in of Expo's CLI. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../../worker-agent/factories/until.ts';
import { stateFolder } from '../factories/guest-script.ts';

const GUEST = join(import.meta.dirname, '../../../vm-image/guest');
const SAY = `say() { printf '[tartbeat] %s\\n' "$*"; }`;

interface Variables {
  platform?: 'ios' | 'android';
  app_root?: string;
  manager?: string;
  manager_install?: string;
  job?: object;
}

/** Starts commands of project.sh in a build whose source has these files. */
function start(state: string, commands: string, files: Record<string, string>, variables: Variables = {}) {
  for (const [path, content] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(dirname(join(state, 'source', path)), { recursive: true });
    writeFileSync(join(state, 'source', path), content);
  }
  const { platform = 'ios', app_root = '.', manager = 'npm', manager_install = 'true', job = '' } = variables;
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const set = Object.entries({
    platform,
    app_root,
    manager_install,
    manager,
    profile: 'preview',
    workspace_root: '.',
    secret_env: '',
    state,
  })
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join('\n');
  const script = `${set}\njob=${quoted(job && JSON.stringify(job))}\n${SAY}\n. ${quoted(join(GUEST, 'project.sh'))}\n${commands}`;
  const PATH = `${dirname(process.execPath)}:/usr/bin:/bin`;
  const child = spawn('/bin/bash', ['-c', script], { env: { PATH, HOME: state }, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  const code = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, log: () => log, lines: () => log.trimEnd().split('\n') };
}

/** Makes `expo config` print this. */
const expo = (printed: string) => ({ 'node_modules/expo/bin/cli.js': printed });
const CONFIG = {
  version: '1.2.3',
  ios: { bundleIdentifier: 'dev.example.app', buildNumber: '7' },
  android: { package: 'dev.example.app' },
};
const print = (exp: object) => expo(`console.log(JSON.stringify({ exp: ${JSON.stringify(exp)} }))`);
const appOf = (state: string) => JSON.parse(readFileSync(join(state, 'app.json'), 'utf8'));

test('the app config is what the CLI of the project prints, with the variables that the engine will have', async () => {
  using state = stateFolder();
  const cli = expo(`
    console.log('a line of app.config.js');
    const { EAS_BUILD_PROFILE, VARIANT, SUFFIX } = process.env;
    const id = ['dev.example', EAS_BUILD_PROFILE, VARIANT, SUFFIX].join('.');
    console.log(JSON.stringify({ exp: { version: '2.0.0', android: { package: id, versionCode: 12 } } }));`);
  const job = {
    job: {
      builderEnvironment: { env: { VARIANT: "it's", SUFFIX: 'plain' } },
      secrets: { environmentSecrets: [{ name: 'SUFFIX', value: 'secret\nof two lines', type: 'string' }] },
    },
  };
  const build = start(state.path, 'read_app_config', cli, { platform: 'android', job });
  expect(await build.code, build.log()).toBe(0);
  expect(appOf(state.path)).toEqual({
    id: "dev.example.preview.it's.secret\nof two lines",
    version: '2.0.0',
    buildNumber: 12,
  });
});

test('in a monorepo the CLI of a folder above reads the app config', async () => {
  using state = stateFolder();
  const build = start(
    state.path,
    'read_app_config',
    { ...print(CONFIG), 'apps/mobile/package.json': '{}' },
    { app_root: 'apps/mobile' },
  );
  expect(await build.code, build.log()).toBe(0);
  expect(appOf(state.path)).toEqual({ id: 'dev.example.app', version: '1.2.3', buildNumber: 7 });
  expect(build.lines().at(-1)).toBe('[tartbeat] The app is dev.example.app, version 1.2.3.');
});

test('a build number that is no whole number does not count', async () => {
  using state = stateFolder();
  const build = start(
    state.path,
    'read_app_config',
    print({ ios: { bundleIdentifier: 'dev.example.app', buildNumber: '1.2.3' } }),
  );
  expect(await build.code, build.log()).toBe(0);
  expect(appOf(state.path)).toEqual({ id: 'dev.example.app', version: null, buildNumber: null });
});

test.each([
  [
    'no package expo',
    {},
    'The package `expo` is not installed in the root of the source, so the app config cannot be read. Add `expo` to the dependencies of its package.json.',
  ],
  [
    'an app config that throws',
    expo('throw new Error("no FIREBASE_KEY")'),
    'The app config in the root of the source could not be read: `expo config` ended with exit code 1. Run `npx expo config` there to see the same.',
  ],
  [
    'no bundle id',
    print({ ios: {} }),
    'The app config in the root of the source has no ios.bundleIdentifier. Add it, because each app has its own build numbers.',
  ],
  [
    'no app config',
    expo('console.log("hello")'),
    '`expo config` printed no app config in the root of the source. Run `npx expo config --json` there.',
  ],
])('%s is a sentence', async (_name, files, sentence) => {
  using state = stateFolder();
  const build = start(state.path, 'read_app_config', files);
  expect(await build.code, build.log()).toBe(1);
  expect(build.lines().at(-1)).toBe(`[tartbeat] ${sentence}`);
  expect(() => appOf(state.path)).toThrow();
});

test('the build waits until the agent has written the number', async () => {
  using state = stateFolder();
  const build = start(
    state.path,
    'ask_number && echo "it is $build_number" && sh -c "printenv TARTBEAT_BUILD_NUMBER"',
    {},
  );
  await until(() => build.log().includes('[tartbeat] The build waits for its number from the controller.'), 'waits');
  writeFileSync(join(state.path, 'number'), '43\n');
  expect(await build.code).toBe(0);
  expect(build.lines().slice(1)).toEqual(['[tartbeat] The number of this build is 43.', 'it is 43', '43']);
});

test('a number that does not come ends the build with a sentence', async () => {
  using state = stateFolder();
  const build = start(state.path, 'number_wait_seconds=0; ask_number', {});
  expect(await build.code).toBe(1);
  expect(build.lines().at(-1)).toBe(
    '[tartbeat] No build number came within 0 minutes, so the build ends here. The agent or the controller could not be reached in that time. Submit the build again.',
  );
});

test('the dependencies are installed at the root of the workspace, with the secrets of the build', async () => {
  using state = stateFolder();
  const job = { job: { secrets: { environmentSecrets: [{ name: 'NPM_TOKEN', value: 'secret', type: 'string' }] } } };
  const files = { 'install.sh': 'echo "$1 $NPM_TOKEN $EAS_BUILD_PROFILE"' };
  const build = start(state.path, 'install_dependencies; echo "then $NPM_TOKEN"', files, {
    manager_install: 'sh install.sh *',
    job,
  });
  expect(await build.code).toBe(0);
  expect(build.lines()).toEqual([
    '[tartbeat] Dependencies are installed in the root of the source: sh install.sh *',
    '* secret preview',
    'then',
  ]);
});

test.each(['npm', 'yarn'])(
  'the script before the install runs in the folder of the app, and what it writes and sets counts: %s',
  async (manager) => {
    using state = stateFolder();
    const job = { job: { secrets: { environmentSecrets: [{ name: 'NPM_TOKEN', value: 'secret', type: 'string' }] } } };
    const files = {
      'apps/mobile/package.json': JSON.stringify({ scripts: { 'eas-build-pre-install': 'bash before.sh' } }),
      'apps/mobile/before.sh': `echo "token=$NPM_TOKEN" >../../.npmrc; set-env FROM_HOOK "it's set"`,
      'install.sh': 'cat .npmrc; echo "$FROM_HOOK"',
    };
    const build = start(state.path, 'install_dependencies', files, {
      app_root: 'apps/mobile',
      manager,
      manager_install: 'sh install.sh',
      job,
    });
    expect(await build.code, build.log()).toBe(0);
    expect(build.lines()[0]).toBe(
      '[tartbeat] The script eas-build-pre-install runs now, before the dependencies are installed. The engine installs them anew, and runs it again before that.',
    );
    expect(build.lines().slice(-3)).toEqual([
      '[tartbeat] Dependencies are installed in the root of the source: sh install.sh',
      'token=secret',
      "it's set",
    ]);
  },
);

test('a script before the install that fails is a sentence', async () => {
  using state = stateFolder();
  const files = { 'package.json': JSON.stringify({ scripts: { 'eas-build-pre-install': 'exit 7' } }) };
  const build = start(state.path, 'install_dependencies', files);
  expect(await build.code).toBe(1);
  expect(build.lines().at(-1)).toBe(
    '[tartbeat] The script eas-build-pre-install in package.json of the root of the source ended with exit code 7. The lines above have the reason.',
  );
});

test('before eas-cli has run such a failure does not end the build, because variables are missing', async () => {
  using state = stateFolder();
  const files = { 'package.json': JSON.stringify({ scripts: { 'eas-build-pre-install': 'exit 7' } }) };
  const build = start(state.path, 'engine=eas; install_dependencies', files);
  expect(await build.code).toBe(0);
  expect(build.lines().slice(-2)).toEqual([
    '[tartbeat] The script ended with exit code 7. It may need variables that only eas-cli gets, so the build goes on.',
    '[tartbeat] Dependencies are installed in the root of the source: true',
  ]);
});

test('a failed install is a sentence', async () => {
  using state = stateFolder();
  const build = start(state.path, 'install_dependencies', {}, { manager_install: 'pnpm install --frozen-lockfile' });
  expect(await build.code).toBe(1);
  expect(build.lines().at(-1)).toBe(
    '[tartbeat] The dependencies could not be installed: `pnpm install --frozen-lockfile` ended with exit code 127. The lines above have the reason.',
  );
});
