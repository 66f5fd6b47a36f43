/**
 * Tests vm-image/guest/private-access.sh and the host keys beside it, with the real ssh-keygen and git.
 * test/expo/private-packages.test.ts installs packages with it.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

const GUEST = join(import.meta.dirname, '../../../vm-image/guest');

/** As the forges publish them. */
const FINGERPRINTS = {
  'github.com': [
    'SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU',
    'SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM',
    'SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s',
  ],
  'gitlab.com': [
    'SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8',
    'SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw',
    'SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ',
  ],
  'bitbucket.org,ssh.bitbucket.org': [
    'SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM',
    'SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0',
    'SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E',
  ],
  'ssh.dev.azure.com,vs-ssh.visualstudio.com': ['SHA256:ohD8VZEXGWo6Ez8GSEJQ9WpafgLFsOfLOtGGQCQo6Og'],
};

function guest() {
  const dir = temporaryDir();
  const home = join(dir.path, 'home');
  mkdirSync(home);
  const keyFile = join(dir.path, 'key');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyFile]);
  const key = readFileSync(keyFile, 'utf8');
  const environment = { PATH: process.env.PATH, HOME: home };
  const script = (secrets: NodeJS.Dict<string>, then: string) => {
    const all = { git_ssh_key: '', git_known_hosts: '', netrc: '', npmrc: '', manager: 'npm', tools: '', ...secrets };
    const variables = Object.entries(all).map(([name, value]) => `${name}='${value}'\n`);
    return `${variables.join('')}. '${GUEST}/private-access.sh'\n${then}`;
  };
  return {
    dir: dir.path,
    home,
    key,
    read: (name: string) => readFileSync(join(home, name), 'utf8'),
    write: (name: string, text: string) => writeFileSync(join(home, name), text, { mode: 0o644 }),
    mode: (name: string) => (statSync(join(home, name)).mode & 0o777).toString(8),
    left: () => readdirSync(home, { recursive: true }).map(String).sort(),
    run(secrets: NodeJS.Dict<string>, then = '', lay = 'lay_private_access || exit 9') {
      const args = ['-c', script(secrets, `${lay}\n${then}`)];
      const { status, stdout, stderr } = spawnSync('/bin/bash', args, { env: environment, encoding: 'utf8' });
      expect(stderr).toBe('');
      return { status, output: stdout.trim() };
    },
    start: (secrets: NodeJS.Dict<string>, then: string) =>
      spawn('/bin/bash', ['-c', script(secrets, then)], { env: environment }),
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}

test('the host keys are those that the forges publish, and nothing else, unhashed', () => {
  const { stdout } = spawnSync('ssh-keygen', ['-lf', join(GUEST, 'known-hosts')], { encoding: 'utf8' });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const found = Object.fromEntries(
    Object.keys(FINGERPRINTS).map((host) => [host, lines.filter((each) => each[2] === host).map((each) => each[1])]),
  );
  expect(found).toEqual(FINGERPRINTS);
  expect(lines).toHaveLength(10);
});

test('each secret becomes a file that only the account can read, and the end of the build removes all of them', () => {
  using it = guest();
  const secrets = {
    git_ssh_key: it.key.trim(),
    netrc: 'machine a login b password c',
    npmrc: '//a/:_authToken=t',
    manager: 'yarn',
  };
  expect(it.run(secrets).status).toBe(0);
  for (const file of ['.netrc', '.npmrc', '.yarnrc.yml', '.tartbeat/expo/private/key'])
    expect([file, it.mode(file)]).toEqual([file, '600']);
  expect(it.mode('.tartbeat/expo/private')).toBe('700');
  // A key that has lost its last newline works all the same.
  expect(it.read('.tartbeat/expo/private/key')).toBe(it.key);
  for (const _ of ['once', 'again']) {
    expect(it.run({}, '', 'remove_private_access').status).toBe(0);
    expect(it.left()).toEqual(['.tartbeat', '.tartbeat/expo']);
  }
});

test("the image's own files come back as they were, and count beside the secrets while the build runs", () => {
  using it = guest();
  it.write('.npmrc', 'loglevel=error\nregistry=https://registry.npmjs.org/');
  it.write('.netrc', 'machine image login x password y\n');
  it.write('.yarnrc.yml', 'enableTelemetry: false\n');
  it.run({ npmrc: 'registry=https://npm.acme.dev/', netrc: 'machine a login b password c', manager: 'yarn' });
  // npm takes the last of two lines with one key. git takes the first of two machines.
  expect(it.read('.npmrc').split('\n').filter(Boolean)).toEqual([
    'loglevel=error',
    'registry=https://registry.npmjs.org/',
    'registry=https://npm.acme.dev/',
  ]);
  expect(it.read('.netrc')).toBe('machine a login b password c\nmachine image login x password y\n');
  // A second start, after a build that nobody could end, does not take the secrets for the image's own.
  it.run({ npmrc: 'other=1' });
  it.run({}, '', 'remove_private_access');
  expect([it.read('.npmrc'), it.read('.netrc'), it.read('.yarnrc.yml'), it.mode('.npmrc')]).toEqual([
    'loglevel=error\nregistry=https://registry.npmjs.org/',
    'machine image login x password y\n',
    'enableTelemetry: false\n',
    '644',
  ]);
});

test('no variable that a child inherits holds a secret', () => {
  using it = guest();
  const secrets = { git_ssh_key: it.key, netrc: 'machine a login b password SECRET', npmrc: '//a/:_authToken=SECRET' };
  const { output } = it.run(secrets, 'env');
  expect(output).not.toContain('SECRET');
  expect(output).not.toContain(it.key.split('\n')[1]);
  for (const line of ['GIT_TERMINAL_PROMPT=0', 'npm_config_allow_git=all', 'GYM_USE_SYSTEM_SCM=true'])
    expect(output.split('\n')).toContain(line);
  expect(output).toMatch(/^GIT_SSH_COMMAND=ssh -o BatchMode=yes .*known_hosts.* -i '.*\/key' -o IdentitiesOnly=yes$/m);
});

test('what the build itself sets is kept', () => {
  using it = guest();
  const own = 'export GIT_SSH_COMMAND=mine npm_config_allow_git=root GIT_CONFIG_COUNT=1\nlay_private_access';
  const { output } = it.run(
    { git_ssh_key: it.key },
    'echo "$GIT_SSH_COMMAND $npm_config_allow_git $GIT_CONFIG_KEY_1"',
    own,
  );
  expect(output).toBe('mine root url.ssh://git@ssh.bitbucket.org/.insteadOf');
});

test('Yarn is told which git repositories it may take only if it knows that setting', () => {
  using it = guest();
  for (const [tools, value] of [
    ['yarn 4.18.1', '**'],
    ['node 22.11.0\nyarn 4.14.0+sha512.ab', '**'],
    ['yarn 5.0.0', '**'],
    ['yarn 4', '**'],
    ['yarn 4.13.0', 'unset'],
    ['yarn 3.8.6', 'unset'],
    ['yarn 1.22.22', 'unset'],
    ['pnpm 10.15.0', 'unset'],
    ['', 'unset'],
  ])
    expect([tools, it.run({ tools }, 'printenv YARN_APPROVED_GIT_REPOSITORIES || echo unset').output]).toEqual([
      tools,
      value,
    ]);
});

test('old addresses of Bitbucket lead to its new name, in both forms, and others stay', () => {
  using it = guest();
  for (const [old, now] of [
    ['git@bitbucket.org:acme/a.git', 'git@ssh.bitbucket.org:acme/a.git'],
    ['ssh://git@bitbucket.org/acme/a.git', 'ssh://git@ssh.bitbucket.org/acme/a.git'],
    ['https://bitbucket.org/acme/a.git', 'https://bitbucket.org/acme/a.git'],
    ['git@github.com:acme/a.git', 'git@github.com:acme/a.git'],
  ])
    expect(it.run({}, `git ls-remote --get-url '${old}'`).output).toBe(now);
});

test('a key that ssh cannot use ends the build before anything is installed, with the command that makes one', () => {
  using it = guest();
  const withPassphrase = join(it.dir, 'other');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'word', '-f', withPassphrase]);
  for (const key of ['ssh-ed25519 AAAA public', readFileSync(withPassphrase, 'utf8')]) {
    const { status, output } = it.run({ git_ssh_key: key });
    expect([status, output]).toEqual([9, expect.stringContaining('the secret GIT_SSH_KEY is not a private SSH key')]);
    expect(output).toContain('`ssh-keygen -t ed25519 -N "" -f key`');
  }
});

test('the lines of NPMRC become the form of Yarn 2 and newer, with a missing variable read as empty', () => {
  using it = guest();
  it.run({
    manager: 'yarn',
    npmrc: [
      '; comment = no',
      'registry = https://registry.acme.dev/npm/',
      '@acme:registry=https://npm.acme.dev',
      `//npm.acme.dev/:_authToken=\${ACME_TOKEN}`,
      '//registry.acme.dev/npm/:_auth="dTpw"',
      'always-auth=true',
    ].join('\n'),
  });
  expect(it.read('.yarnrc.yml')).toBe(
    [
      'npmRegistryServer: "https://registry.acme.dev/npm/"',
      'npmScopes:',
      '  "acme":',
      '    npmRegistryServer: "https://npm.acme.dev"',
      '    npmAlwaysAuth: true',
      'npmRegistries:',
      '  "//npm.acme.dev":',
      '    npmAlwaysAuth: true',
      `    npmAuthToken: "\${ACME_TOKEN:-}"`,
      '  "//registry.acme.dev/npm":',
      '    npmAlwaysAuth: true',
      '    npmAuthIdent: "dTpw"',
      '',
    ].join('\n'),
  );
});

test('git takes the password of NETRC, and asks nobody without it', async () => {
  using it = guest();
  const work = join(it.dir, 'work');
  mkdirSync(work);
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: work });
  git('init', '--quiet');
  git('commit', '--quiet', '--allow-empty', '-m', 'one');
  git('clone', '--quiet', '--bare', '.', '../repository.git');
  execFileSync('git', ['update-server-info'], { cwd: join(it.dir, 'repository.git') });
  const right = `Basic ${Buffer.from('me:the password').toString('base64')}`;
  const server = createServer((request, response) => {
    const file = join(it.dir, new URL(request.url ?? '', 'http://x').pathname);
    if (request.headers.authorization !== right)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else if (existsSync(file) && statSync(file).isFile()) response.end(readFileSync(file));
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/repository.git`;
  const ask = async (netrc: string) => {
    const child = it.start({ netrc }, `lay_private_access; git ls-remote ${url} HEAD 2>&1; remove_private_access`);
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    await once(child, 'close');
    return output;
  };
  expect(await ask('')).toMatch(/terminal prompts disabled|could not read Username/);
  expect(await ask('machine 127.0.0.1 login me password "the password"')).toMatch(/^[0-9a-f]{40}\tHEAD$/m);
  server.closeAllConnections();
  server.close();
});

test('a build that is ended leaves nothing behind', async () => {
  using it = guest();
  it.write('.npmrc', 'loglevel=error\n');
  const child = it.start(
    { git_ssh_key: it.key, npmrc: '//a/:_authToken=t' },
    'trap remove_private_access EXIT\ntrap "exit 143" TERM\nlay_private_access\necho ready\nsleep 30 & wait',
  );
  await once(child.stdout, 'data');
  expect(it.read('.npmrc')).toContain('_authToken=t');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([143, null]);
  expect([it.left(), it.read('.npmrc')]).toEqual([['.npmrc', '.tartbeat', '.tartbeat/expo'], 'loglevel=error\n']);
});
