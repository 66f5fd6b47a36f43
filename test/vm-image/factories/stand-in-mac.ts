import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { Shell } from './guest-script.ts';

const STAND_INS = join(import.meta.dirname, '../stand-ins');
export const VM_IMAGE = join(import.meta.dirname, '../../../vm-image');
export const STEPS = readdirSync(join(VM_IMAGE, 'provision'))
  .filter((name) => /^\d\d-.*\.sh$/.test(name))
  .sort();

/** As $BASH_ENV it interrupts a script when that has ended by itself and begins to clean up. */
export const SIGNAL_AT_THE_END = `
  set -T
  trap '[ "\${FUNCNAME-}" != in_script ] || [ "\${FUNCNAME[1]}" = on_signal ] || kill -INT $$' DEBUG
  `;

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/**
 * A Mac like the ones in Tart's images, and its host. Stand-ins replace the commands that Linux does not
 * have, and record the changes that they would make.
 */
export interface StandInMac extends Disposable {
  /** The folder that is `/` of the guest. */
  root: string;
  home: string;
  /** The calls that changed something since the last use of this, in order. */
  calls(): string[];
  remember(key: string, value?: string): void;
  forget(key: string): void;
  recall(key: string): string | null;
  /** Calls of this command that change something fail; with `only`, those with these arguments. */
  fail(command: string, only?: string): void;
  /** Every call of this command fails. */
  break(command: string): void;
  repair(): void;
  /** Runs a script of vm-image in the guest. */
  guest(script: string, args?: string[], options?: { user?: 'admin' | 'root'; input?: string }): Promise<Outcome>;
  /** Runs a script of vm-image on the host. */
  host(
    script: string,
    args?: string[],
    options?: { env?: NodeJS.Dict<string>; signal?: AbortSignal },
  ): Promise<Outcome>;
  /**
   * Names, modes and contents of all files in the guest. A test compares them before and after.
   */
  contents(): Record<string, string>;
  /** Path of a file of the test, outside of the guest. */
  file(name: string, text?: string): string;
}

export function standInMac(shell: Shell): StandInMac {
  const folder = mkdtempSync(join(tmpdir(), 'tartbeat-mac-'));
  const root = join(folder, 'root');
  const home = join(root, 'Users/admin');
  for (const path of [
    'state',
    'fail',
    'broken',
    'vms',
    'bin',
    'root/Applications',
    'root/tmp',
    'root/Users/admin',
    'root/etc/ssl',
    'host-home',
  ])
    mkdirSync(join(folder, path), { recursive: true });
  // An image with an Xcode that was never started.
  mkdirSync(join(root, 'Applications/Xcode.app/Contents/Developer'), { recursive: true });
  mkdirSync(join(root, 'Applications/Xcode_26.6.app/Contents/Developer'), { recursive: true });
  writeFileSync(join(root, 'etc/ssl/cert.pem'), 'the public authorities\n');
  chmodSync(home, 0o750);
  // Scripts call each other with `sh`, which macOS has as bash in POSIX mode.
  symlinkSync(`/bin/${shell}`, join(folder, 'bin/sh'));
  symlinkSync(join(STAND_INS, 'installed'), join(folder, 'installed'));
  const path = (side: 'guest' | 'host') =>
    [join(STAND_INS, side), join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter);
  const common = { STAND_INS: folder, TMPDIR: folder, GUEST_PATH: path('guest') };
  const callsFile = join(folder, 'calls');
  const stateFile = (key: string) => join(folder, 'state', key);

  return {
    root,
    home,
    calls() {
      const lines = existsSync(callsFile) ? readFileSync(callsFile, 'utf8').split('\n').filter(Boolean) : [];
      rmSync(callsFile, { force: true });
      return lines;
    },
    remember: (key, value = '') => writeFileSync(stateFile(key), `${value}\n`),
    forget: (key) => rmSync(stateFile(key), { force: true }),
    recall: (key) => (existsSync(stateFile(key)) ? readFileSync(stateFile(key), 'utf8').trim() : null),
    fail: (command, only = '') => writeFileSync(join(folder, 'fail', command), only),
    break: (command) => writeFileSync(join(folder, 'broken', command), ''),
    repair() {
      for (const kind of ['fail', 'broken'])
        for (const name of readdirSync(join(folder, kind))) rmSync(join(folder, kind, name));
    },
    guest: (script, args = [], { user = 'root', input = '' } = {}) =>
      execute(shell, resolve(VM_IMAGE, script), args, {
        input,
        env: {
          ...common,
          PATH: path('guest'),
          HOME: user === 'root' ? join(root, 'var/root') : home,
          STAND_IN_USER: user,
          TARTBEAT_ROOT: root,
          ...(user === 'root' && { SUDO_USER: 'admin' }),
        },
      }),
    host: (script, args = [], { env, signal } = {}) =>
      execute(shell, resolve(VM_IMAGE, script), args, {
        signal,
        env: { ...common, PATH: path('host'), HOME: join(folder, 'host-home'), ...env },
      }),
    contents: () => contentsOf(root),
    file(name, text) {
      const file = join(folder, name);
      if (text !== undefined) writeFileSync(file, text, { mode: 0o600 });
      return file;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }),
  };
}

/** Aborting sends SIGINT to the script alone, as `kill -INT` does. */
async function execute(
  shell: Shell,
  script: string,
  args: string[],
  { env, input = '', signal }: { env: NodeJS.Dict<string>; input?: string; signal?: AbortSignal | undefined },
): Promise<Outcome> {
  const child = spawn(shell, [script, ...args], { env });
  const interrupt = () => child.kill('SIGINT');
  signal?.addEventListener('abort', interrupt);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  signal?.removeEventListener('abort', interrupt);
  return { status, stdout, stderr };
}

function contentsOf(folder: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const entry = lstatSync(path);
    const mode = (entry.mode & 0o777).toString(8);
    if (entry.isSymbolicLink()) found[prefix + name] = `-> ${readlinkSync(path)}`;
    else if (entry.isDirectory())
      Object.assign(found, { [`${prefix + name}/`]: mode }, contentsOf(path, `${prefix + name}/`));
    else found[prefix + name] = `${mode} ${readFileSync(path, 'utf8')}`;
  }
  return found;
}

/** The rows of public-images. */
export function publicImages() {
  const rows = readFileSync(join(VM_IMAGE, 'public-images'), 'utf8')
    .split('\n')
    .filter((line) => /^[a-z]/.test(line));
  return rows.map((row) => {
    const [name, repository, tag, digest, download, unpacked, disk, format, macos, xcode, host, tart] = row.split(/ +/);
    const reference = digest === '-' ? `${repository}:${tag}` : `${repository}@${digest}`;
    return { name, reference, digest, download, unpacked, disk, format, macos, xcode, host, tart };
  });
}

/** The outcome that a script printed for each step or check, by name. Of several lines the first counts. */
export function outcomesOf({ stdout }: Outcome): Record<string, string> {
  const lines = stdout.matchAll(/^(ok|changed|failed|missing|unknown|skipped|pass|fail) +([a-z_-]+) /gm);
  return Object.fromEntries([...lines].reverse().map(([, outcome, name]) => [name!, outcome!]));
}

export const PUBLIC_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDummyKeyOfTheTests0123456789abcdefghijk agent@host';
