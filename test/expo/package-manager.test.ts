/**
 * Compares the choice of a package manager with that of Expo's engine itself, over workspaces drawn at
 * random. `EXPO_WORKSPACES` says how many.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findWorkspaceRoot } from '../../client/project/dependencies/workspace-root.ts';
import { packageManagerOf } from '../../client/project/package-manager.ts';
import { filesInFolder } from '../client/project/factories/files-of.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { ENGINE, installed } from './factories/engine-packages.ts';

const RUNS = Number(process.env.EXPO_WORKSPACES ?? 300);
const FOLDERS = ['.', 'apps', 'apps/mobile', 'packages/one', 'apps/team/mobile'];
const GLOBS = [
  'apps/*',
  'apps/**',
  '**',
  'packages/*',
  './apps/mobile',
  'apps/mobile',
  '!apps/mobile',
  'apps/{web,mobile}',
  '*',
  'apps/*/',
  'team/*',
  'mob*',
  '@(apps|packages)/*',
  'apps/mobile/',
  '!apps/mobile/',
  '!(packages)/*',
  'apps/!(web)',
  '(apps|packages)/**',
  'apps/[a-m]*',
];
const LOCKS = ['bun.lock', 'bun.lockb', 'yarn.lock', 'package-lock.json', 'pnpm-lock.yaml'];

const globs = fc.array(fc.constantFrom(...GLOBS), { maxLength: 3 });
const folder = fc.record({
  workspaces: fc.option(globs),
  nested: fc.boolean(),
  pnpm: fc.option(globs),
  locks: fc.subarray(LOCKS, { maxLength: 2 }),
  yarnrc: fc.boolean(),
  modern: fc.boolean(),
});
const project = fc.record({
  app: fc.constantFrom(...FOLDERS),
  fallback: fc.constantFrom('', 'npm', 'pnpm', 'bun'),
  folders: fc.array(fc.tuple(fc.constantFrom(...FOLDERS), folder), { maxLength: 4 }),
});

test(`${RUNS} workspaces get the manager, the root and the kind of Yarn that the engine gives them`, async () => {
  const engine = join(await installed([ENGINE]), 'node_modules');
  const require = createRequire(join(engine, 'x.js'));
  const { resolvePackageManager, findPackagerRootDir } = require(
    join(engine, '@expo/build-tools/dist/utils/packageManager.js'),
  );
  const { isUsingModernYarnVersion } = require(join(engine, '@expo/build-tools/dist/utils/project.js'));
  using dir = temporaryDir();
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(project, async ({ app, fallback, folders }) => {
      const root = join(dir.path, 'source');
      rmSync(root, { recursive: true, force: true });
      const write = (path: string, text: string) => {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      };
      write(join(app, 'package.json'), '{}');
      for (const [name, { workspaces, nested, pnpm, locks, yarnrc, modern }] of folders) {
        const value = workspaces === null ? undefined : nested ? { packages: workspaces } : workspaces;
        write(join(name, 'package.json'), JSON.stringify({ workspaces: value }));
        if (pnpm !== null)
          write(
            join(name, 'pnpm-workspace.yaml'),
            `packages:${pnpm.length === 0 ? ' []' : ''}\n${pnpm.map((glob) => `  - '${glob}'\n`).join('')}`,
          );
        for (const lock of locks)
          write(join(name, lock), modern ? '__metadata:\n  version: 8\n' : '# yarn lockfile v1\n');
        if (yarnrc) write(join(name, '.yarnrc.yml'), '');
      }
      const files = await filesInFolder(root);
      const wanted = relative(root, findPackagerRootDir(join(root, app))) || '.';
      expect((await findWorkspaceRoot(files, app)).root).toBe(wanted);
      const env = { EAS_FALLBACK_PACKAGE_MANAGER: fallback };
      const mine = await packageManagerOf(files, app, { env });
      if (!mine.ok) throw new Error(mine.problem);
      const manager = resolvePackageManager(join(root, app), { env });
      const modernYarn = manager === 'yarn' && (await isUsingModernYarnVersion(join(root, app)));
      expect(mine.value).toMatchObject({ manager, modernYarn, workspaceRoot: wanted });
      compared += 1;
    }),
    { numRuns: RUNS, seed: 21 },
  );
  expect(compared).toBeGreaterThanOrEqual(RUNS);
});
