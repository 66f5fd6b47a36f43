/**
 * Makes the base image that clones are made from. It has a user who may log in with one key, a host key that
 * all clones share, and the scripts of `vm-image/`.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { guestHome } from '../guest/environment.ts';
import { generateKeyPair } from '../key-pair.ts';
import { lockHome } from './lock.ts';
import { writeSettings } from './settings.ts';
import { createVm } from './vm-store.ts';

export interface BaseImageOptions {
  tartHome: string;
  /** The agent expects `<vmName>-base-snapshot`. */
  name: string;
  /** The account that may log in: the agent's `vmUser`. */
  user: string;
  /** One line, as in `id_ed25519.pub`. Its private half is the agent's `vmSshKey`. */
  publicKey: string;
  /**
   * The port of all VMs of this TART_HOME: the agent's `vmSshPort`. Without it the port stays; at first it is
   * 22022.
   */
  sshPort?: number;
  /** The time from `tart run` until SSH answers, beside the time that the simulator itself needs. */
  bootMs?: number;
}

const VM_IMAGE = resolve(import.meta.dirname, '../../../vm-image');

/**
 * Lets a login shell find Node and npm, as on a Mac with Homebrew. The host's /etc/profile has overwritten
 * PATH by then.
 */
const PROFILE = `export PATH="$TARTBEAT_ROOT/opt/homebrew/bin:$TARTBEAT_ROOT/usr/local/bin:$TART_SIM_FACADE:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
`;

/** Replaces an image of the same name. */
export async function createBaseImage({
  tartHome,
  name,
  user,
  publicKey,
  sshPort,
  bootMs,
}: BaseImageOptions): Promise<void> {
  const home = resolve(tartHome);
  mkdirSync(home, { recursive: true });
  if (sshPort !== undefined) writeSettings(home, { sshPort });
  using _lock = lockHome(home);
  createVm(home, name, { user, bootMs }, (root) => makeGuest(root, { user, publicKey }));
}

/** Makes the content of the guest's disk. It has every executable file of `vm-image/`. */
export function makeGuest(root: string, { user, publicKey }: { user: string; publicKey: string }): void {
  const home = guestHome(root, user);
  for (const folder of [
    join(home, '.ssh'),
    join(root, 'etc', 'ssh'),
    join(root, 'usr', 'local', 'bin'),
    join(root, 'tmp'),
  ])
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  chmodSync(join(home, '.ssh'), 0o700);
  writeFileSync(join(home, '.ssh', 'authorized_keys'), publicKey && `${publicKey.trim()}\n`, { mode: 0o600 });
  writeFileSync(join(home, '.bash_profile'), PROFILE);
  const hostKey = generateKeyPair();
  writeFileSync(join(root, 'etc', 'ssh', 'ssh_host_ed25519_key'), hostKey.private, { mode: 0o600 });
  writeFileSync(join(root, 'etc', 'ssh', 'ssh_host_ed25519_key.pub'), `${hostKey.public}\n`);
  for (const name of existsSync(VM_IMAGE) ? readdirSync(VM_IMAGE) : []) {
    const file = statSync(join(VM_IMAGE, name));
    if (file.isFile() && file.mode & 0o100) copyFileSync(join(VM_IMAGE, name), join(root, 'usr', 'local', 'bin', name));
  }
  installGuestScripts(root, home);
}

/**
 * Does the same as provision/20-monitor.sh. The link is relative, because a clone takes the whole disk to
 * another folder.
 */
export function installGuestScripts(root: string, home: string): void {
  const from = join(VM_IMAGE, 'guest');
  const scripts = join(root, 'usr', 'local', 'share', 'tartbeat', 'guest');
  const links = join(home, '.tartbeat', 'guest');
  cpSync(from, scripts, { recursive: true });
  mkdirSync(links, { recursive: true });
  symlinkSync(relative(links, scripts), join(links, readFileSync(join(from, 'version'), 'utf8').trim()));
}

/**
 * The key for images that a person makes with `tart create` or `tart pull`. Without one nobody can log in.
 */
export function publicKeyFromEnvironment(): string {
  const path = process.env.TART_SIM_PUBLIC_KEY;
  return path ? readFileSync(path, 'utf8') : '';
}
