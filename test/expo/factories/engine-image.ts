/** Puts Expo's engine and the stand-ins of a Mac's programs into the base image of a simulated Mac. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SimulatedMac } from '../../../local/farm/simulated-mac.ts';
import { ENGINE, installed } from './engine-packages.ts';

const STAND_IN = join(import.meta.dirname, '../stand-ins/stand-in.sh');
const PRELOAD = join(import.meta.dirname, '../stand-ins/preload.cjs');
const PROGRAMS = ['fastlane', 'pod', 'security', 'codesign', 'xcodebuild', 'xcrun', 'java', 'step'];

/**
 * `env` is for the request: it lets the stand-ins find their folder, and the engine believe in macOS. If
 * `wrapper` has any words, it starts each build. It must keep the process id and the parent, because the end
 * of a build ends all other processes.
 */
export async function prepareImage(
  mac: SimulatedMac,
  dir: string,
  fingerprint: string,
  wrapper: readonly string[] = [],
): Promise<{ folder: string; env: Record<string, string> }> {
  const folder = join(dir, 'stand-ins');
  for (const name of ['began', 'fail', 'hang']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'app'), `an app of ${dir}\n`);
  writeFileSync(join(folder, 'calls'), '');
  writeFileSync(join(folder, 'fingerprint'), fingerprint);
  const vms = join(mac.tartHome, 'vms');
  const name = ENGINE.slice(0, ENGINE.lastIndexOf('@'));
  const engine = join(await installed([ENGINE]), 'node_modules', name);
  for (const image of readdirSync(vms)) {
    const root = join(vms, image, 'guest');
    if (!existsSync(root)) throw new Error(`the image ${image} has no root`);
    const modules = join(root, 'opt/homebrew/lib/node_modules');
    mkdirSync(modules, { recursive: true });
    symlinkSync(engine, join(modules, name));
    for (const program of PROGRAMS) symlinkSync(STAND_IN, join(root, 'usr/local/bin', program));
    if (wrapper.length > 0) appendFileSync(join(root, 'Users/admin/.bash_profile'), runBelow(wrapper));
  }
  return { folder, env: { STAND_INS: folder, NODE_OPTIONS: `--require=${PRELOAD}` } };
}

/** The shell of a build reads its profile first, and starts itself again there. */
const runBelow = (wrapper: readonly string[]) =>
  `[ -n "\${BELOW_WRAPPER-}" ] || [ ! -f "\${TARTBEAT_STATE-}/build.sh" ] || BELOW_WRAPPER=1 exec ${wrapper.join(' ')} /bin/bash -l "$TARTBEAT_STATE/build.sh"\n`;
