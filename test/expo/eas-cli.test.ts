/**
 * Builds with the real eas-cli and the real engine, against a stand-in of Expo's API, through the scripts
 * that a VM has.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { type BuildOptions, type GuestBuild, makeGuest, makeSigning } from './factories/eas-guest.ts';
import { EAS_CLI, ENGINE, installed } from './factories/engine-packages.ts';
import { type ExpoAccount, PROJECT_ID, startExpoApi, TOKEN } from './factories/expo-api.ts';
import { watchNetwork } from './factories/network.ts';
import { BUNDLE_ID, type EasProject, writeEasProject } from './projects/eas-project.ts';
import { unpackTemplate } from './projects/template.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const KEYSTORE = {
  applicationId: BUNDLE_ID,
  keystore: Buffer.from('content of the keystore').toString('base64'),
  password: 'password-of-the-keystore',
  alias: 'upload',
};
const REMOTE = { cli: { appVersionSource: 'remote' } };

let packages = '';
let signing: Awaited<ReturnType<typeof makeSigning>>;

beforeAll(async () => {
  packages = await installed([ENGINE, EAS_CLI]);
  using dir = temporaryDir();
  signing = await makeSigning(dir.path, BUNDLE_ID);
}, 300_000);

interface Case extends Partial<BuildOptions> {
  project?: EasProject;
  account?: ExpoAccount;
  /** Changes the source before the build. */
  change?: (source: string) => void;
  /** Runs before the folders are deleted. */
  look?: (result: Result) => void;
  /** The native build never ends. */
  hang?: boolean;
}

interface Result extends GuestBuild {
  asked: string[];
  written: string[];
  home: string;
  source: string;
  record: string;
}

async function build({ project, account, change, look, hang, ...options }: Case): Promise<Result> {
  using dir = temporaryDir();
  await using api = await startExpoApi(packages, { android: KEYSTORE, ...account });
  const guest = makeGuest(dir.path, packages, (source) => {
    writeEasProject(source, { eas: { ...REMOTE, build: { production: {} } }, ...project });
    change?.(source);
  });
  writeFileSync(join(guest.record, 'fingerprint'), signing.fingerprint);
  if (hang) writeFileSync(join(guest.record, 'hang'), '');
  const { port, asked, written, unknown } = api;
  const built = await guest.build({ platform: 'android', profile: 'production', port, ...options });
  expect(unknown, 'fields that the stand-in of the API does not have').toEqual([]);
  // Only npm connects to anything, and only to the registry.
  const others = built.connections.filter((one) => !/^registry\.npmjs\.org:443 .*\/npm-cli\.js$/.test(one));
  expect(others, 'connections besides those to the API').toEqual([]);
  const source = join(guest.state, 'source');
  const result = { ...built, asked, written, home: guest.home, source, record: guest.record };
  look?.(result);
  return result;
}

const PLIST = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>PROJECT_ID</key><string>ignored</string></dict></plist>
`;

/** The files that a build with an ignored `.env` and `google-services.json` finds in its VM. */
const IGNORED = {
  '.gitignore': '.env\ngoogle-services.json\n',
  '.easignore': '.env\ngoogle-services.json\ndocs\n',
  '.env': 'FROM_DOTENV=1',
  'google-services.json': '{"from":"a secret file"}',
  '.git/HEAD': 'ref: refs/heads/main',
};

test('with a token the engine gets the keystore and the variables that Expo keeps, and every file of the source; no program connects to another machine', async () => {
  using dir = temporaryDir();
  using network = await watchNetwork(join(dir.path, 'trace'));
  const { npm_config_proxy = '', npm_config_https_proxy = '' } = network.env;
  const { code, log, asked, written, calls, says } = await build({
    project: {
      eas: {
        cli: { ...REMOTE.cli, version: '>= 99.0.0' },
        build: { production: { autoIncrement: true, environment: 'preview', env: { FROM_PROFILE: 'profile' } } },
      },
      files: IGNORED,
    },
    account: { buildVersion: '41', variables: { preview: { FROM_EXPO: 'expo', A_SECRET: 'of expo' } } },
    secrets: { A_SECRET: "it's a secret", SILENT: 'never-printed' },
    env: { EAS_BUILD_GIT_COMMIT_HASH: COMMIT, npm_config_proxy, npm_config_https_proxy },
    wrapper: network.wrapper,
    look: ({ record, source, home }) => {
      const { android } = JSON.parse(readFileSync(join(record, 'credentials.json'), 'utf8'));
      expect(android.keystore).toMatchObject({ keystorePassword: KEYSTORE.password, keyAlias: KEYSTORE.alias });
      expect(readFileSync(join(source, 'tartbeat-artifacts/app-release.aab'), 'utf8')).toBe('app\n');
      expect(readdirSync(join(home, '.tartbeat/expo'))).toEqual([]);
      expect(existsSync(join(home, '.cache/eas-cli'))).toBe(false);
    },
  });
  expect(code, log).toBe(0);
  expect(network.hosts().filter((host) => host !== 'registry.npmjs.org:443')).toEqual([]);
  expect(network.connections() ?? []).toEqual([]);
  for (const line of [
    'hook sees .env FROM_DOTENV=1',
    'hook sees google-services.json {"from":"a secret file"}',
    'hook sees .git/HEAD ref: refs/heads/main',
    // Variables of the build override those of Expo, in eas-cli too.
    `hook has expo profile it's a secret ${COMMIT} undefined undefined`,
    'Version code: 42',
  ])
    expect(log).toContain(line);
  expect(calls).toEqual(['java -jar gradle-wrapper.jar :app:bundleRelease --profile']);
  expect(written).toEqual(['42']);
  for (const secret of [TOKEN, KEYSTORE.password, KEYSTORE.keystore, 'never-printed'])
    expect(log).not.toContain(secret);
  expect(says).toEqual([
    'The script eas-build-pre-install runs now, before the dependencies are installed. The engine installs them anew, and runs it again before that.',
    'Dependencies are installed in the root of the source: npm ci --include=dev',
    'eas-cli makes the job for the profile production. It asks Expo for what the profile needs.',
    'The engine gets all files of the source, also those that .gitignore or .easignore names.',
  ]);
  expect(asked).toEqual([
    'CurrentUser',
    'AppByIdQuery',
    'EnvironmentVariablesIncludingSensitiveByAppId',
    'AppByIdQuery',
    'AppByIdQuery',
    'AppByIdQuery',
    'LatestAppVersion',
    'CreateAppVersionMutation',
    'CommonAndroidAppCredentialsWithBuildCredentialsByApplicationIdentifierQuery',
  ]);
});

test('with the token of a robot, the certificate and profile that Expo keeps sign an iOS app', async () => {
  const { code, log, calls } = await build({
    platform: 'ios',
    project: { eas: { ...REMOTE, build: { production: { autoIncrement: true } } } },
    account: {
      actor: 'Robot',
      buildVersion: '41',
      ios: { bundleId: BUNDLE_ID, ...signing, distribution: 'APP_STORE' },
    },
    look: ({ source }) => {
      expect(readFileSync(join(source, 'ios/Tiny/Info.plist'), 'utf8')).toMatch(/CFBundleVersion<\/key>\s*<string>42</);
      expect(readFileSync(join(source, 'tartbeat-artifacts/App.ipa'), 'utf8')).toBe('app\n');
    },
  });
  expect(code, log).toBe(0);
  expect(
    calls.some((call) => call.startsWith('fastlane run import_certificate') && call.includes(signing.password)),
  ).toBe(true);
  expect(calls).toContain('fastlane gym');
  expect(log).not.toContain(signing.password);
});

test('credentials.json beside an environment of Expo signs an iOS app, although git ignores its files', async () => {
  const { code, log, calls } = await build({
    platform: 'ios',
    project: {
      eas: { ...REMOTE, build: { production: { credentialsSource: 'local', environment: 'production' } } },
      files: {
        '.gitignore': '*.p12\n*.mobileprovision\ncredentials.json\n',
        'credentials.json': JSON.stringify({
          ios: {
            provisioningProfilePath: 'app.mobileprovision',
            distributionCertificate: { path: 'dist.p12', password: signing.password },
          },
        }),
      },
    },
    account: { variables: { production: { FROM_EXPO: 'expo' } } },
    change: (source) => {
      writeFileSync(join(source, 'dist.p12'), Buffer.from(signing.p12, 'base64'));
      writeFileSync(join(source, 'app.mobileprovision'), Buffer.from(signing.profile, 'base64'));
    },
  });
  expect(code, log).toBe(0);
  expect(log).toContain('hook has expo ');
  expect(calls).toContain('fastlane gym');
});

test('in a monorepo a managed app is built from its folder, and an ignored native folder is made new', async () => {
  const { code, log, says } = await build({
    appRoot: 'apps/mobile',
    project: {
      appRoot: 'apps/mobile',
      managed: true,
      expo: { android: { package: BUNDLE_ID, googleServicesFile: './google-services.json' } },
      files: {
        '.gitignore': 'android\ngoogle-services.json\n',
        'apps/mobile/android/app/build.gradle': 'left over',
        'apps/mobile/google-services.json': '{"from":"a secret file"}',
      },
    },
    look: ({ source }) => {
      const made = (path: string) => readFileSync(join(source, 'apps/mobile/android/app', path), 'utf8');
      expect(made('google-services.json')).toBe('{"from":"a secret file"}');
      expect(made('build.gradle')).not.toContain('left over');
    },
  });
  expect(code, log).toBe(0);
  expect(says).toContain(
    'The folder apps/mobile/android is left out, because the project is managed: Expo makes it new.',
  );
});

/** Real packages take minutes on a busy machine, so this is no part of the usual run. */
if (process.env.EXPO_ENGINE === 'all')
  test.each(['android', 'ios'] as const)(
    "a real app for %s has the values of its committed and ignored files and of Expo's environment",
    async (platform) => {
      using dir = temporaryDir();
      const { projectDir } = await unpackTemplate(dir.path);
      const put = (name: string, content: string) => writeFileSync(join(projectDir, name), content);
      const { expo } = JSON.parse(readFileSync(join(projectDir, 'app.json'), 'utf8'));
      const config = {
        ...{ ...expo, name: 'Tiny', slug: 'tiny', extra: { eas: { projectId: PROJECT_ID } } },
        android: { package: BUNDLE_ID, googleServicesFile: './google-services.json' },
        ios: { bundleIdentifier: BUNDLE_ID, googleServicesFile: './GoogleService-Info.plist' },
      };
      put('app.json', JSON.stringify({ expo: config }));
      put('eas.json', JSON.stringify({ ...REMOTE, build: { production: { environment: 'production' } } }));
      put('.gitignore', 'node_modules\n.env\nGoogleService-Info.plist\n');
      put('.env', 'EXPO_PUBLIC_IGNORED=value-of-an-ignored-file\n');
      put('.env.production', 'EXPO_PUBLIC_COMMITTED=value-of-a-committed-file\n');
      put('google-services.json', '{"project_info":{"project_id":"committed"},"client":[]}');
      put('GoogleService-Info.plist', PLIST);
      const names = ['IGNORED', 'COMMITTED', 'FROM_EXPO'].map((name) => `{process.env.EXPO_PUBLIC_${name}}`);
      put(
        'App.js',
        `import { Text } from 'react-native';
         export default () => <Text>${names.join(' ')}</Text>;`,
      );
      execFileSync('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], { cwd: projectDir });
      const { code, log } = await build({
        platform,
        account: {
          variables: { production: { EXPO_PUBLIC_FROM_EXPO: 'value-that-expo-keeps' } },
          ios: { bundleId: BUNDLE_ID, ...signing, distribution: 'APP_STORE' },
        },
        change: (source) => {
          rmSync(source, { recursive: true });
          cpSync(projectDir, source, { recursive: true });
        },
        look: ({ record }) => {
          const text = (name: string) => readFileSync(join(record, name), 'utf8');
          const values = ['value-of-an-ignored-file', 'value-of-a-committed-file', 'value-that-expo-keeps'];
          expect(values.filter((value) => text('bundle.js').includes(value))).toEqual(values);
          if (platform === 'android') expect(text('google-services.json')).toContain('"committed"');
          else expect(text('GoogleService-Info.plist')).toContain('<string>ignored</string>');
        },
      });
      expect(code, log).toBe(0);
    },
  );

const fromExpo: [name: string, says: string, options: Case][] = [
  ['a token that Expo does not know', 'Error: GraphQL request failed.', { token: 'wrong' }],
  [
    'a project id that Expo does not know',
    "Experience with id '22222222-2222-4222-8222-222222222222' does not exist.",
    { project: { expo: { extra: { eas: { projectId: '22222222-2222-4222-8222-222222222222' } } } } },
  ],
  [
    'a slug that is not the one at Expo',
    'does not match the "slug" field (other)',
    { project: { expo: { slug: 'other' } } },
  ],
  [
    'an owner that is not the one at Expo',
    'does not match owner specified in the "owner" field (somebody)',
    { project: { expo: { owner: 'somebody' } } },
  ],
  [
    'no certificate at Expo',
    'Credentials are not set up. Run this command again in interactive mode.',
    {
      platform: 'ios',
      account: { ios: { bundleId: BUNDLE_ID, p12: '', password: '', profile: '', distribution: 'AD_HOC' } },
    },
  ],
  [
    'no answer with the variables of the environment',
    '[tartbeat] Expo did not send the variables of the environment, so the build ends here.',
    {
      account: { variables: null },
      project: { eas: { ...REMOTE, build: { production: { environment: 'production' } } } },
    },
  ],
];

test.each(fromExpo)('%s ends the build with a sentence, before the engine', async (_name, says, options) => {
  const { code, log, calls } = await build(options);
  expect(code, log).toBe(1);
  expect(log).toContain(says);
  expect(log).not.toContain('[SETUP_WORKINGDIR]');
  expect(calls).toEqual([]);
});

test('a failed install ends the build with a sentence, before eas-cli', async () => {
  const { code, log, asked, says } = await build({ change: (source) => rmSync(join(source, 'package-lock.json')) });
  expect(code, log).toBe(1);
  expect(says.at(-1)).toBe(
    'The dependencies could not be installed: `npm ci --include=dev` ended with exit code 1. The lines above have the reason.',
  );
  expect(asked).toEqual([]);
});

/** Checks that nothing of a build with the engine `eas` runs or is on the disk. */
function nothingLeft({ home, source }: Pick<Result, 'home' | 'source'>) {
  expect(readdirSync(join(home, '.tartbeat/expo'))).toEqual([]);
  const secret = ['-name', '*.p12', '-o', '-name', '*.mobileprovision', '-o', '-name', '*.keychain'];
  expect(execFileSync('find', [home, ...secret], { encoding: 'utf8' })).toBe('');
  const alive = execFileSync('ps', ['-axo', 'args='], { encoding: 'utf8' }).split('\n');
  expect(alive.filter((line) => line.includes(source) || line.includes(home))).toEqual([]);
}

const HANG = `node -e "require('fs').writeFileSync(process.env.RECORD + '/hangs', ''); setTimeout(() => {}, 60000)"`;
const CONFIG_THAT_HANGS = `
require('node:fs').writeFileSync(process.env.RECORD + '/hangs', '');
require('node:child_process').execSync('sleep 60');
module.exports = ({ config }) => config;
`;
const cancels: [name: string, last: string, options: Case][] = [
  ['in the native build', 'eas-cli makes the job', { hang: true }],
  [
    'while the dependencies are installed',
    'Dependencies are installed',
    {
      change: (source) => {
        const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
        const scripts = { ...manifest.scripts, preinstall: HANG };
        writeFileSync(join(source, 'package.json'), JSON.stringify({ ...manifest, scripts }));
      },
    },
  ],
  ['in eas-cli', 'eas-cli makes the job', { project: { files: { 'app.config.js': CONFIG_THAT_HANGS } } }],
];

test.each(cancels)('a cancel %s leaves no process and no secret', async (_name, last, options) => {
  const { code, log, says } = await build({
    platform: 'ios',
    account: { ios: { bundleId: BUNDLE_ID, ...signing, distribution: 'APP_STORE' } },
    cancelWhen: 'hangs',
    look: nothingLeft,
    ...options,
  });
  // KILL, which build.sh sends 5 s after TERM, would have left no code.
  expect(code, log).toBe(143);
  expect(says.at(-1)).toBe('The engine was stopped.');
  expect(says.filter((line) => !/^The engine /.test(line)).at(-1)).toContain(last);
});

test('if the import of a certificate that Expo keeps fails, its password is in no log, although the engine prints it, and the next attempt in the same VM succeeds', async () => {
  using dir = temporaryDir();
  const ios = { bundleId: BUNDLE_ID, ...signing, distribution: 'APP_STORE' };
  await using api = await startExpoApi(packages, { ios });
  const write = (source: string) => writeEasProject(source, { eas: { ...REMOTE, build: { production: {} } } });
  const guest = makeGuest(dir.path, packages, write);
  const source = join(guest.state, 'source');
  writeFileSync(join(guest.record, 'fingerprint'), signing.fingerprint);
  const attempt = () => guest.build({ platform: 'ios', profile: 'production', port: api.port });

  writeFileSync(join(guest.record, 'refuse'), '');
  const failed = await attempt();
  expect(failed.code, failed.log).toBe(1);
  expect(failed.log).toContain('cannot import with certificate_password:***');
  expect(failed.log).not.toContain(signing.password);
  nothingLeft({ home: guest.home, source });

  rmSync(join(guest.record, 'refuse'));
  rmSync(source, { recursive: true });
  mkdirSync(source);
  write(source);
  const next = await attempt();
  expect(next.code, next.log).toBe(0);
  expect(readFileSync(join(source, 'tartbeat-artifacts/App.ipa'), 'utf8')).toBe('app\n');
  nothingLeft({ home: guest.home, source });
});
