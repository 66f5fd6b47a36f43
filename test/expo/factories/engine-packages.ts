/**
 * Installs packages from npm for the tests with real engines: Expo's build engine, eas-cli and its resolver.
 * They stay in node_modules/.cache/expo-engine, so that each set is downloaded once. They are never copied
 * into this project.
 *
 * Invariant: a folder that `installed` returns is complete and is not changed afterwards.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { AgentLockedError, acquireAgentLock } from '../../../worker-agent/state/agent-lock.ts';

/** The one that vm-image/provision/versions.sh pins; a test compares them. */
export const ENGINE = 'eas-cli-local-build-plugin@24.7.0';

export const EAS_CLI = 'eas-cli@24.8.0';

const CACHE = join(PROJECT_ROOT, 'node_modules/.cache/expo-engine');
const INSTALL_MS = 300_000;
const LOOK_AGAIN_MS = 200;

/**
 * Returns the folder that has these packages in its node_modules. Each is `name@version`, with an exact
 * version. A second process that wants the same packages waits for the first.
 */
export async function installed(packages: readonly string[]): Promise<string> {
  const wanted = [...packages].sort();
  const inexact = wanted.find((one) => !/^(@[^/@]+\/)?[^/@]+@\d+\.\d+\.\d+(-[\w.]+)?$/.test(one));
  if (inexact) throw new TypeError(`${inexact} is not NAME@VERSION with an exact version`);
  const folder = join(CACHE, createHash('sha256').update(wanted.join('\n')).digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  using _lock = await lockOf(`${folder}.lock`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  writeFileSync(join(unfinished, 'package.json'), JSON.stringify({ private: true }));
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', ...wanted];
  await execa('npm', args, { cwd: unfinished, timeout: INSTALL_MS });
  renameSync(unfinished, folder);
  return folder;
}

/** The kernel frees the lock when its process dies, so a killed test keeps nobody waiting. */
async function lockOf(dir: string): Promise<Disposable> {
  const giveUpAt = performance.now() + INSTALL_MS;
  for (;;) {
    try {
      return acquireAgentLock(dir);
    } catch (error) {
      if (!(error instanceof AgentLockedError) || performance.now() > giveUpAt) throw error;
    }
    await sleep(LOOK_AGAIN_MS);
  }
}
