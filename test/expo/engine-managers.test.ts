/**
 * Builds the tiny project with each package manager, in a VM that has Node 24 and npm alone: Tartbeat
 * installs the manager and Node 22, and the real engine uses them. Without EXPO_MANAGERS=all this file is
 * not read.
 */
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageManagerOf } from '../../client/project/package-manager.ts';
import { filesInFolder } from '../../client/project/project-files.ts';
import { toolVersions } from '../../client/project/tool-versions.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { installed } from './engine-packages.ts';
import { engineVm } from './engine-vm.ts';
import { MISE } from './image-tools.ts';
import { startNodeMirror } from './node-mirror.ts';
import { writeTinyProject } from './tiny-project.ts';

const NODE = '22.23.5';
const NPM = '10.9.4';

/** The version, and the files that each writes for a project without dependencies. */
const MANAGERS: Record<string, { version: string; files: Record<string, string> }> = {
  pnpm: {
    version: '10.15.0',
    files: { 'pnpm-lock.yaml': "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n" },
  },
  yarn: {
    version: '4.9.2',
    files: {
      '.yarnrc.yml': 'nodeLinker: node-modules\n',
      'yarn.lock': `__metadata:
  version: 8
  cacheKey: 10c0

"tiny@workspace:.":
  version: 0.0.0-use.local
  resolution: "tiny@workspace:."
  languageName: unknown
  linkType: soft
`,
    },
  },
  bun: {
    version: '1.2.20',
    files: { 'bun.lock': '{ "lockfileVersion": 1, "workspaces": { "": { "name": "tiny" } }, "packages": {} }\n' },
  },
};

for (const [manager, { version, files }] of Object.entries(MANAGERS))
  test(`the tiny project is built with ${manager} ${version} and Node ${NODE}, which it names`, async () => {
    using dir = temporaryDir();
    await using mirror = await startNodeMirror(dir.path, NODE, NPM);
    using vm = await engineVm({ withinMs: 240_000 });
    const mise = join(vm.root, 'opt/homebrew/bin/mise');
    rmSync(mise);
    symlinkSync(join(await installed([MISE]), 'node_modules/@jdxcode/mise-linux-x64/bin/mise'), mise);
    const project = join(vm.dir, 'project');
    writeTinyProject(project);
    rmSync(join(project, 'package-lock.json'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
    const manifest = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8'));
    const check = `node -p process.version >seen-node && ${manager} --version >seen-manager`;
    manifest.scripts['eas-build-post-install'] = check;
    writeFileSync(
      join(project, 'package.json'),
      JSON.stringify({ ...manifest, packageManager: `${manager}@${version}` }),
    );
    writeFileSync(join(project, '.nvmrc'), 'lts/jod\n');

    const read = await filesInFolder(project);
    const chosen = await packageManagerOf(read, '.');
    if (!chosen.ok) throw new Error(chosen.problem);
    const tools = await toolVersions(read, '.', '.', {}, chosen.value.manager);
    if (!tools.ok) throw new Error(tools.problem);
    const build = await vm.start(project, {
      job: { platform: 'ios', type: 'generic', simulator: true },
      env: { MISE_NODE_MIRROR_URL: mirror.url },
      variables: {
        manager: chosen.value.manager,
        manager_install: chosen.value.install,
        tools: tools.value.map((tool) => `${tool.name} ${tool.version}`).join('\n'),
      },
    });
    expect(await build.ended(), build.log()).toBe(0);
    expect(build.artifacts()).toContain('Tiny.app.tar.gz');
    expect(build.log()).toContain(`[tartbeat] Installed ${manager} ${version} in `);
    const seen = ['seen-node', 'seen-manager'].map((name) => readFileSync(join(build.source, name), 'utf8').trim());
    expect(seen).toEqual([`v${NODE}`, version]);
    expect(vm.processes()).toEqual([]);
  }, 300_000);
