/**
 * Computes the fingerprint of a project: the hash of everything that the native part of its app depends on.
 *
 * It runs code of the project: its own @expo/fingerprint, which runs app.config.js. This code has the rights
 * of the account, so it can read the key of expo-build too. The person must trust the project. Its
 * environment has neither the key nor the address of the controller, so that they do not get into an error
 * report by accident. It has a limited time.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { execa } from 'execa';
import { Fingerprint } from '#contract';
import type { BuildProfile } from '../../client/project/build-profile.ts';

/** A large monorepo takes some seconds. */
const FINGERPRINT_MS = 60_000;

/** The hash goes to a descriptor of its own, because app.config.js may print anything. */
const PROGRAM = `
const { createRequire } = require('node:module');
const [root, platform] = process.argv.slice(1);
const { createFingerprintAsync } = createRequire(root + '/package.json')('@expo/fingerprint');
createFingerprintAsync(root, { platforms: [platform], silent: true }).then(
  ({ hash }) => { require('node:fs').writeSync(3, String(hash)); process.exit(0); },
  (error) => { console.error(error); process.exit(1); },
);`;

interface FingerprintOptions {
  /** Of the profile, because app.config.js may read it. */
  env?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/**
 * Returns the hash, or one sentence that says why there is none. Rejects only when aborted.
 *
 * @param projectRoot the folder of the app, an absolute path
 */
export async function fingerprintOf(
  projectRoot: string,
  platform: 'ios' | 'android',
  { env = {}, signal }: FingerprintOptions = {},
): Promise<{ hash: string } | { why: string }> {
  if (!isInstalled(projectRoot))
    return { why: '@expo/fingerprint is not installed in the project. Install its packages first.' };
  const { EXPO_BUILD_URL: _url, EXPO_BUILD_KEY: _key, ...inherited } = process.env;
  const done = await execa(process.execPath, ['-e', PROGRAM, projectRoot, platform], {
    cwd: projectRoot,
    // `development`, as under `expo run`, so that both compute the same hash.
    env: { ...inherited, ...env, NODE_ENV: 'development' },
    extendEnv: false,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    maxBuffer: 100_000,
    reject: false,
    timeout: FINGERPRINT_MS,
    ...(signal && { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (done.timedOut) return { why: `@expo/fingerprint took longer than ${FINGERPRINT_MS / 1000} s.` };
  const hash = Fingerprint.safeParse(done.stdio[3]);
  if (!done.failed && hash.success) return { hash: hash.data };
  const said = /^.*(?:Error|error).*$/m.exec(done.stderr)?.[0] ?? `it ended with exit code ${done.exitCode}`;
  return { why: `@expo/fingerprint failed: ${said.slice(0, 300)}` };
}

/** In the project, or above it as in a monorepo. */
function isInstalled(projectRoot: string): boolean {
  try {
    createRequire(join(projectRoot, 'package.json')).resolve('@expo/fingerprint');
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether `expo run` could run what this profile builds: an app for development, without a flavour, and for
 * iOS one for the simulator. Another build gets no fingerprint by itself, because flavours and an app for the
 * store have the same one. An app for the store would start without the developer's own JavaScript.
 */
export const isForDevelopment = ({
  platform,
  simulator,
  developmentClient,
  buildConfiguration,
  scheme,
  gradleCommand,
}: BuildProfile): boolean =>
  platform === 'ios'
    ? simulator === true &&
      scheme === undefined &&
      (buildConfiguration === undefined ? developmentClient === true : buildConfiguration === 'Debug')
    : gradleCommand === undefined
      ? developmentClient === true
      : /^(:?app:)?assembleDebug$/.test(gradleCommand.trim());
