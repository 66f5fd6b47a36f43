/**
 * Tests that a project with private dependencies installs with its secrets, fails without them after the log
 * has said why, and leaves nothing of a secret behind. The servers are real: a git server over sshd, and an
 * npm registry that wants a token. `EXPO_MANAGERS=all` runs every manager and not only a sample.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { findMissingAccess } from '../../client/project/private-access.ts';
import { filesInFolder } from '../client/project/factories/files-of.ts';
import { testWith } from '../set-up/test-with.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { GUEST_SCRIPTS, imageTools } from './factories/image-tools.ts';
import { startGitServer, startRegistry } from './factories/private-servers.ts';

const SAMPLE = ['npm', 'pnpm 10.34.8'];
const ALL = [
  ...SAMPLE,
  'npm 10.9.4',
  'npm 12.2.2',
  'pnpm 8.15.9',
  'pnpm 11.28.10',
  'pnpm 12.21.0',
  'yarn 1.22.22',
  'yarn 3.8.6',
  'yarn 4.9.2',
  'yarn 4.18.1',
  'bun 1.2.20',
  'bun 1.4.5',
];

const INSTALL: Record<string, string> = {
  npm: 'npm install',
  pnpm: 'pnpm install --no-frozen-lockfile',
  yarn: 'yarn install',
  bun: 'bun install',
};

/** Does what expo.sh does: access first, then the tools, then the install. The access ends with the build. */
const BUILD = `
. '${GUEST_SCRIPTS}/private-access.sh'
. '${GUEST_SCRIPTS}/toolchain.sh'
trap remove_private_access EXIT
lay_private_access && install_tools && eval "$install"
`;

/** How the managers say that a server has let nobody in. Several keep what ssh said to themselves. */
const REFUSED =
  /permission denied|host key verification|could not read from remote|couldn't find package|git clone.*failed|\b40[134]\b|authenticat|unauthori[sz]ed/i;

const ssh = testWith('sshd');

for (const tool of process.env.EXPO_MANAGERS === 'all' ? ALL : SAMPLE)
  ssh(`${tool}: private packages install with their secrets only, and nothing of a secret is left`, async () => {
    using dir = temporaryDir();
    await using git = await startGitServer(dir.path);
    await using registry = await startRegistry(dir.path);
    const image = await imageTools(dir.path);
    const [manager, version] = tool.split(' ') as [string, string?];
    const variables = (secrets: Record<string, string>) =>
      Object.entries({
        git_ssh_key: '',
        git_known_hosts: '',
        netrc: '',
        npmrc: '',
        manager,
        tools: version === undefined ? '' : tool,
        install: INSTALL[manager]!,
        ...secrets,
      })
        .map(([name, value]) => `${name}='${value}'\n`)
        .join('');
    const project = (name: string, dependencies: Record<string, string>) => {
      const folder = join(dir.path, name);
      mkdirSync(folder);
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'app', private: true, dependencies }));
      writeFileSync(join(folder, '.npmrc'), `@acme:registry=${registry.url}\n`);
      if (manager === 'yarn' && !version!.startsWith('1.')) {
        writeFileSync(join(folder, 'yarn.lock'), '');
        writeFileSync(
          join(folder, '.yarnrc.yml'),
          `nodeLinker: node-modules\nenableImmutableInstalls: false\nunsafeHttpWhitelist: ["127.0.0.1"]\n`,
        );
      }
      return folder;
    };
    const fromGit = { 'from-git': `git+${git.url}` };
    const fromRegistry = { '@acme/secret': '1.0.0' };
    const env = { NPM_TOKEN_OF_THE_TEST: registry.token, npm_config_fetch_retries: '0' };
    const run = async (folder: string, secrets: Record<string, string>) => {
      const answer = await image.run(`${variables(secrets)}${BUILD}`, { cwd: folder, env });
      return { ...answer, folder };
    };
    const has = async (folder: string, names: string[]) =>
      findMissingAccess(await filesInFolder(folder), '.', '.', new Set(names));

    for (const [name, dependencies, sentence] of [
      [
        'without-key',
        fromGit,
        'package.json fetches from 127.0.0.1 over SSH, but this build has no secret GIT_SSH_KEY',
      ],
      ['without-token', fromRegistry, '.npmrc fetches packages from 127.0.0.1, but this build has no secret NPMRC'],
    ] as const) {
      const { code, output, folder } = await run(project(name, dependencies), {});
      expect(code, output).not.toBe(0);
      expect(output).toMatch(REFUSED);
      expect(await has(folder, [])).toContainEqual(expect.stringContaining(sentence));
    }

    // The token stands in a variable, as people write it. All managers replace it only in the home folder.
    const variable = `\${NPM_TOKEN_OF_THE_TEST}`;
    const npmrc = `@acme:registry=${registry.url}\n${registry.url.replace('http:', '')}:_authToken=${variable}`;
    const secrets = { git_ssh_key: git.key, git_known_hosts: git.knownHosts, npmrc };
    const both = project('with-both', { ...fromGit, ...fromRegistry });
    const { code, output } = await run(both, secrets);
    expect(code, output).toBe(0);
    expect(await has(both, ['GIT_SSH_KEY', 'GIT_KNOWN_HOSTS', 'NPMRC'])).toEqual([]);
    const seen = await image.run("node -p \"require('from-git') + ' ' + require('@acme/secret')\"", { cwd: both });
    expect(seen.output).toBe('git registry');

    // The secret has the token itself. Nothing may keep it in its caches or logs.
    const plain = npmrc.replace(variable, registry.token);
    const again = await run(project('with-token', fromRegistry), { npmrc: plain });
    expect(again.code, again.output).toBe(0);
    expect(filesWith(image.home, [git.key.split('\n')[2]!, registry.token])).toEqual([]);
    expect(readdirSync(image.home).filter((name) => /^\.(netrc|npmrc|yarnrc\.yml)$/.test(name))).toEqual([]);
  });

function filesWith(folder: string, texts: string[]): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const content = readFileSync(path);
      return texts.some((text) => content.includes(text));
    });
}
