/** Starts a git server over sshd and an npm registry that wants a token, both on loopback and both real. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { create } from 'tar';
import { freePort } from '../../../local/farm/free-port.ts';

const SSHD = '/usr/sbin/sshd';
const LISTENING_MS = 10_000;

export interface GitServer extends AsyncDisposable {
  /** The address of a repository with one package, which exports `git`. */
  url: string;
  key: string;
  knownHosts: string;
}

export async function startGitServer(dir: string): Promise<GitServer> {
  const folder = join(dir, 'sshd');
  const work = join(folder, 'work');
  mkdirSync(work, { recursive: true });
  const run = (command: string, ...args: string[]) => execa(command, args, { cwd: work });
  writeFileSync(join(work, 'package.json'), JSON.stringify({ name: 'from-git', version: '1.0.0', main: 'index.js' }));
  writeFileSync(join(work, 'index.js'), "module.exports = 'git';\n");
  await run('git', 'init', '--quiet', '--initial-branch=main');
  await run('git', 'add', '.');
  await run('git', '-c', 'user.name=test', '-c', 'user.email=test@example.com', 'commit', '--quiet', '-m', 'one');
  await run('git', 'clone', '--quiet', '--bare', '.', '../from-git.git');
  for (const name of ['host', 'user'])
    await run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name));
  const port = await freePort();
  const config = {
    Port: port,
    ListenAddress: '127.0.0.1',
    HostKey: join(folder, 'host'),
    AuthorizedKeysFile: join(folder, 'user.pub'),
    PasswordAuthentication: 'no',
    KbdInteractiveAuthentication: 'no',
    PermitRootLogin: 'yes',
    StrictModes: 'no',
    UsePAM: 'no',
    PidFile: 'none',
  };
  const lines = Object.entries(config).map(([name, value]) => `${name} ${value}\n`);
  writeFileSync(join(folder, 'config'), lines.join(''));
  // As root, sshd wants this folder for the part that runs without rights.
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true });
  const sshd = spawn(SSHD, ['-D', '-e', '-f', join(folder, 'config')], { stdio: 'ignore' });
  const ended = once(sshd, 'exit');
  await listening(port, sshd);
  const hostKey = readFileSync(join(folder, 'host.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
  return {
    url: `ssh://${userInfo().username}@127.0.0.1:${port}${join(folder, 'from-git.git')}`,
    key: readFileSync(join(folder, 'user'), 'utf8'),
    knownHosts: `[127.0.0.1]:${port} ${hostKey}`,
    async [Symbol.asyncDispose]() {
      sshd.kill();
      await ended;
    },
  };
}

export interface Registry extends AsyncDisposable {
  /** It ends with a slash. The registry has `@acme/secret` 1.0.0, which exports `registry`. */
  url: string;
  token: string;
}

export async function startRegistry(dir: string): Promise<Registry> {
  const folder = join(dir, 'registry');
  mkdirSync(join(folder, 'package'), { recursive: true });
  const manifest = { name: '@acme/secret', version: '1.0.0', main: 'index.js' };
  writeFileSync(join(folder, 'package/package.json'), JSON.stringify(manifest));
  writeFileSync(join(folder, 'package/index.js'), "module.exports = 'registry';\n");
  const file = join(folder, 'secret.tgz');
  await create({ cwd: folder, file, gzip: true, portable: true }, ['package']);
  const bytes = readFileSync(file);
  const token = `token-of-the-test-${createHash('sha256').update(dir).digest('hex')}`;
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '').toLowerCase();
    if (request.headers.authorization !== `Bearer ${token}`) response.writeHead(401).end('{}');
    else if (path === '/@acme/secret') {
      const dist = {
        tarball: `${url}@acme/secret/-/secret-1.0.0.tgz`,
        shasum: createHash('sha1').update(bytes).digest('hex'),
        integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}`,
      };
      const versions = { '1.0.0': { ...manifest, dist } };
      const time = { '1.0.0': '2026-01-01T00:00:00.000Z' };
      const document = { name: manifest.name, 'dist-tags': { latest: '1.0.0' }, versions, time };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
    } else if (path.endsWith('.tgz')) response.writeHead(200).end(bytes);
    else response.writeHead(404).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    token,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listening(port: number, sshd: ChildProcess): Promise<void> {
  const giveUpAt = performance.now() + LISTENING_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    if (sshd.exitCode !== null) throw new Error(`sshd ended with code ${sshd.exitCode}`);
    if (performance.now() > giveUpAt) throw new Error(`sshd does not listen on port ${port}`);
    await sleep(50);
  }
}
