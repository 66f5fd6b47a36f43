/**
 * Asks the real eas-cli: how it resolves a profile, and which job it would give to its engine. A stand-in for
 * Expo's API answers it, and the engine is a script that keeps what it is given.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

const RUN_MS = 120_000;
/** eas-cli uses this port with EXPO_LOCAL. It may be taken, so its connections are sent to another. */
const PORT_OF_EXPO_LOCAL = 3000;
/** The number that the stand-in says the last build had. */
export const LAST_NUMBER = 41;

/** Loaded into eas-cli before all else: the port, and for iOS the name of the platform. */
const PRELOAD = `
const net = require('node:net');
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (Number(options?.port) === ${PORT_OF_EXPO_LOCAL}) options.port = Number(process.env.STAND_IN_PORT);
  return connect.apply(this, args);
};
if (process.env.STAND_IN_PLATFORM && process.argv[1]?.includes('eas-cli'))
  Object.defineProperty(process, 'platform', { value: process.env.STAND_IN_PLATFORM });
`;

const account = { __typename: 'Account', id: 'a1', name: 'example' };
const appVersion = { __typename: 'AppVersion', id: 'v1', buildVersion: String(LAST_NUMBER), storeVersion: '1.0.0' };
const data = {
  meActor: {
    __typename: 'User',
    ...{ id: 'u1', username: 'example', primaryAccount: account, accounts: [account] },
    ...{ isExpoAdmin: false, featureGates: {} },
  },
  app: {
    byId: {
      __typename: 'App',
      id: '11111111-1111-4111-8111-111111111111',
      ...{ slug: 'example', name: 'example', fullName: '@example/example', ownerAccount: account },
      ...{ githubRepository: null, environmentVariablesIncludingSensitive: [] },
      latestAppVersionByPlatformAndApplicationIdentifier: appVersion,
    },
  },
  appVersion: { createAppVersion: appVersion },
};

export interface Asked {
  /** The folder that has eas-cli in its node_modules. */
  packages: string;
  /** The root of the source. */
  source: string;
  appRoot: string;
  platform: 'ios' | 'android';
  profile: string;
}

const programOf = (packages: string) => join(packages, 'node_modules/eas-cli/bin/run');

/** The output of `eas config --eas-json-only`. It needs neither an account nor a network. */
export async function profileOfExpo({ packages, source, appRoot, platform, profile }: Asked): Promise<unknown> {
  const args = ['config', '-p', platform, '-e', profile, '--eas-json-only', '--json', '--non-interactive'];
  const { stdout } = await execa(process.execPath, [programOf(packages), ...args], {
    cwd: join(source, appRoot),
    timeout: RUN_MS,
    extendEnv: false,
    env: {
      PATH: process.env.PATH,
      HOME: source,
      EAS_NO_VCS: '1',
      EAS_PROJECT_ROOT: source,
      DISABLE_EAS_ANALYTICS: '1',
    },
  });
  return (JSON.parse(stdout) as { buildProfile: unknown }).buildProfile;
}

/** The job that `eas build --local` makes. */
export async function jobOfExpo({ packages, source, appRoot, platform, profile }: Asked): Promise<{
  job: Record<string, unknown>;
  metadata: Record<string, unknown>;
}> {
  const work = mkdtempSync(join(tmpdir(), 'expo-cli-'));
  const [engine, input, preload] = ['engine', 'input', 'preload.cjs'].map((name) => join(work, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(engine, `#!/bin/sh\nprintf %s "$EAS_LOCAL_BUILD_PLUGIN_INPUT" >'${input}'\n`);
  chmodSync(engine, 0o755);
  writeFileSync(preload, PRELOAD);
  const server = createServer((request, response) => {
    request
      .resume()
      .on('end', () => response.setHeader('content-type', 'application/json').end(JSON.stringify({ data })));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    const args = ['build', '--local', '--non-interactive', '--platform', platform, '--profile', profile];
    const ran = await execa(process.execPath, ['--require', preload, programOf(packages), ...args], {
      cwd: join(source, appRoot),
      timeout: RUN_MS,
      extendEnv: false,
      all: true,
      reject: false,
      env: {
        ...{ PATH: process.env.PATH, HOME: work, TMPDIR: work, EXPO_LOCAL: '1', EXPO_TOKEN: 'stand-in' },
        ...{ EAS_NO_VCS: '1', EAS_PROJECT_ROOT: source, EAS_SKIP_AUTO_FINGERPRINT: '1' },
        ...{ DISABLE_EAS_ANALYTICS: '1', EXPO_NO_TELEMETRY: '1', EAS_LOCAL_BUILD_PLUGIN_PATH: engine },
        STAND_IN_PORT: String((server.address() as AddressInfo).port),
        ...(platform === 'ios' && { STAND_IN_PLATFORM: 'darwin' }),
      },
    });
    if (!existsSync(input)) throw new Error(`eas-cli gave no job for ${platform} ${profile}:\n${ran.all}`);
    return JSON.parse(Buffer.from(readFileSync(input, 'utf8'), 'base64').toString());
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(work, { recursive: true, force: true });
  }
}
