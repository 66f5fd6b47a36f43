/**
 * Tests that a project gets the versions that it names in a guest that has none of them, with the real mise
 * and real packages: Node 22 from a mirror on loopback, pnpm, Yarn 4 and Bun from the npm registry.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageManagerOf } from '../../client/project/package-manager.ts';
import { toolVersions } from '../../client/project/tool-versions.ts';
import { filesInFolder } from '../client/project/factories/files-of.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { GUEST_SCRIPTS, imageTools } from './factories/image-tools.ts';
import { startNodeMirror } from './factories/node-mirror.ts';

const NODE = '22.23.5';
const NPM = '10.9.4';
const PNPM_SUM =
  'sha512.486ebc259d3e999a4e8691ce03b5cac4a71cbeca39372a9b762cb500cfdf0873e2cb16abe3d951b1ee2cf012503f027b98b6584e4df22524e0c7450d9ec7aa7b';

/** The install that writes the lock file, as its author once ran it; what package.json says; the answer. */
const PROJECTS = [
  {
    manager: 'pnpm',
    version: '10.15.0',
    author: 'pnpm install --no-frozen-lockfile',
    packageManager: `pnpm@10.15.0+${PNPM_SUM}`,
  },
  { manager: 'yarn', version: '4.9.2', author: 'yarn install --no-immutable', packageManager: 'yarn@4.9.2' },
  { manager: 'bun', version: '1.2.20', author: 'bun install', packageManager: 'bun@1.2.20' },
  { manager: 'npm', version: NPM, author: 'npm install', packageManager: undefined },
] as const;

/** Does what expo.sh does: the functions of the guest, with the variables that the agent's script sets. */
const script = (tools: string, then: string) =>
  `. '${GUEST_SCRIPTS}/toolchain.sh'\ntools='${tools}'\ninstall_tools || exit 9\n${then}`;

test('projects with pnpm, Yarn 4, Bun and npm, and Node 22, install in a guest that has Node 24 and npm; what cannot be had ends by name', async () => {
  using dir = temporaryDir();
  await using mirror = await startNodeMirror(dir.path, NODE, NPM);
  const image = await imageTools(dir.path);
  const env = { MISE_NODE_MIRROR_URL: mirror.url };
  for (const { manager, version, author, packageManager } of PROJECTS) {
    const project = join(dir.path, `project-${manager}`);
    mkdirSync(project);
    const dependencies = { 'is-odd': '3.0.1' };
    writeFileSync(
      join(project, 'package.json'),
      JSON.stringify({ name: 'app', private: true, packageManager, dependencies }),
    );
    writeFileSync(join(project, '.nvmrc'), 'lts/jod\n');
    if (manager === 'yarn') {
      writeFileSync(join(project, '.yarnrc.yml'), 'nodeLinker: node-modules\n');
      writeFileSync(join(project, 'yarn.lock'), '');
    }
    // A file that mise would refuse, or run code for, if it read it.
    writeFileSync(join(project, 'mise.toml'), `[tools]\nnode = "{{ exec(command='touch ${dir.path}/ran') }}"\n`);
    const written = await image.run(
      script(`node ${NODE}${manager === 'npm' ? '' : `\n${manager} ${version}`}`, `${author} && rm -rf node_modules`),
      { cwd: project, env },
    );
    expect(written.code, written.output).toBe(0);

    const files = await filesInFolder(project);
    const chosen = await packageManagerOf(files, '.');
    if (!chosen.ok) throw new Error(chosen.problem);
    expect(chosen.value.manager).toBe(manager);
    const tools = await toolVersions(files, '.', '.', {}, chosen.value.manager);
    if (!tools.ok) throw new Error(tools.problem);
    const lines = tools.value.map((tool) => `${tool.name} ${tool.version}`).join('\n');
    const check = `node -p "[process.version, require('is-odd')(3)].join(' ')"; ${manager} --version`;
    const { code, output } = await image.run(script(lines, `${chosen.value.install} && ${check}`), {
      cwd: project,
      env,
    });
    expect(code, output).toBe(0);
    expect(output.trim().split('\n').slice(-2)).toEqual([`v${NODE} true`, version]);
    // A tool that the project names is installed once. The second build in the same guest finds it.
    expect(output).toContain(`[tartbeat] Installed node ${NODE} in `);
  }
  expect(mirror.asked).toContain(`/v${NODE}/SHASUMS256.txt`);
  expect(() => readFileSync(join(dir.path, 'ran'))).toThrow('ENOENT');

  for (const [tools, sentence] of [
    ['node 22.99.0', '[tartbeat] node 22.99.0 could not be installed. The lines above say why.'],
    ['pnpm 9.99.99', '[tartbeat] pnpm 9.99.99 could not be installed. The lines above say why.'],
    ['pnpm 10.15.0+sha512.abc', '[tartbeat] pnpm 10.15.0 is not the one that `packageManager` in package.json names.'],
  ] as const) {
    const { code, output } = await image.run(script(tools, ':'), { cwd: dir.path, env });
    expect([tools, code, output]).toEqual([tools, 9, expect.stringContaining(sentence)]);
  }
});
