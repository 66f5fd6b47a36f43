/** Runs a real OpenSSH server on loopback, as this user, with a home of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { freePort } from '../../../local/farm/free-port.ts';
import { ownScripts } from '../../../worker-agent/guest/scripts.ts';
import type { SshTarget } from '../../../worker-agent/guest/ssh-handshake.ts';
import { installGuestScripts } from '../../../worker-agent/tart-simulator/home/base-image.ts';
import { pathOf } from '../../set-up/programs.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const VM_SSH_GATE = join(import.meta.dirname, '../../../vm-image/vm-ssh-gate');
/** Null where none is installed. Tests that start a server are declared by `testWith('sshd')`. */
export const SSHD = pathOf('sshd');

/**
 * `tiedTo` is the command that one of its two keys is tied to. The guest has the scripts of this agent,
 * unless `scripts` is false.
 */
export async function startOpenSsh({ tiedTo = VM_SSH_GATE, scripts = true } = {}) {
  const dir = temporaryDir();
  const file = (name: string) => join(dir.path, name);
  const home = file('home');
  mkdirSync(join(home, 'tmp'), { recursive: true });
  if (scripts) installGuestScripts(home, home);
  for (const name of ['host_key', 'client_key', 'tied_key'])
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
  const keys = [
    readFileSync(file('client_key.pub'), 'utf8'),
    `restrict,command="${tiedTo}" ${readFileSync(file('tied_key.pub'), 'utf8')}`,
  ];
  writeFileSync(file('authorized_keys'), keys.join(''), { mode: 0o600 });
  const config = [
    `HostKey ${file('host_key')}`,
    `AuthorizedKeysFile ${file('authorized_keys')}`,
    // The guest's own commands come first: a test puts stand-ins for macOS's commands into bin.
    `SetEnv HOME=${home} TARTBEAT_ROOT=${home} PATH=${home}/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
    'ListenAddress 127.0.0.1',
    'UsePAM no',
    'StrictModes no',
    'PasswordAuthentication no',
    'PidFile none',
    'PermitRootLogin yes',
  ];
  writeFileSync(file('sshd_config'), `${config.join('\n')}\n`);
  // sshd of root does not start without this folder.
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });

  const port = await freePort();
  const args = ['-D', '-E', file('log'), '-f', file('sshd_config'), '-p', String(port)];
  const child = spawn(SSHD!, args, { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await until(() => {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${readFileSync(file('log'), 'utf8')}`);
    return accepts(port);
  }, 'sshd accepts connections');
  const fingerprint = await execa('ssh-keygen', ['-l', '-f', file('host_key.pub')]);

  const target: SshTarget = {
    host: '127.0.0.1',
    port,
    user: userInfo().username,
    privateKey: readFileSync(file('client_key'), 'utf8'),
    connectTimeoutMs: 20_000,
    scripts: { version: ownScripts().version },
  };
  return {
    target,
    /** The same target, with the key that is tied to a command. */
    tied: { ...target, privateKey: readFileSync(file('tied_key'), 'utf8') },
    home,
    keyPath: file('client_key'),
    hostFingerprint: /SHA256:(\S+)/.exec(fingerprint.stdout)![1]!,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      killThoseAtHome(home);
      dir[Symbol.dispose]();
    },
  };
}

/**
 * Kills processes that outlived their session. It finds them by their environment, on Linux. Elsewhere tests
 * leave nothing that lasts.
 */
function killThoseAtHome(home: string): void {
  for (const pid of existsSync('/proc/self/environ') ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [])
    try {
      if (readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`HOME=${home}`))
        process.kill(Number(pid), 'SIGKILL');
    } catch {}
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', end(true)).on('error', end(false));
  });
}
