/** Compares the files that a build gets with those that the real eas-cli packs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { list } from 'tar';
import { beforeAll, expect, test, vi } from 'vitest';
import { listSource, type Source } from '../../client/packing/list-source.ts';
import { TREES, Tree } from '../client/packing/trees.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { packWithEasCli } from './factories/eas-cli-packs.ts';
import { EAS_CLI, ENGINE, installed } from './factories/engine-packages.ts';

const names = Object.keys(TREES);
const treeOf = new Map<string, Tree>();
const packedByEas = new Map<string, Set<string>>();

beforeAll(async () => {
  const packages = await installed([ENGINE, EAS_CLI]);
  const dir = temporaryDir();
  writeFileSync(join(dir.path, 'ignored-by-all'), '*.globally-ignored\n');
  writeFileSync(join(dir.path, 'gitconfig'), `[core]\nexcludesFile = ${join(dir.path, 'ignored-by-all')}\n`);
  vi.stubEnv('GIT_CONFIG_GLOBAL', join(dir.path, 'gitconfig'));
  for (const [index, name] of names.entries())
    treeOf.set(name, TREES[name]!(new Tree(join(dir.path, `tree-${index}`))));
  const folders = names.map((name) => treeOf.get(name)!.path);
  const packed = packWithEasCli(packages, folders, dir.path);
  for (const [index, name] of names.entries()) packedByEas.set(name, await pathsIn(packed[index]!.archive));
}, 300_000);

async function pathsIn(archive: string): Promise<Set<string>> {
  const paths = new Set<string>();
  const onReadEntry = ({ path, type }: { path: string; type: string }) => {
    const inProject = path.replace(/^project\/(\.\/)?/, '');
    if (type !== 'Directory' && !/(^|\/)\.git(\/|$)/.test(inProject)) paths.add(inProject);
  };
  await list({ file: archive, onReadEntry });
  return paths;
}

/**
 * Projects in which git sees something else than eas-cli does, or from which no secret is sent. `pack --list`
 * names each of these paths.
 */
const DIFFERENT: Record<string, { onlyEas?: string[]; onlyOurs?: string[] }> = {
  'a nested rule that keeps what the outer one ignores': { onlyOurs: ['a/keep.log'] },
  'a tracked file that a rule ignores': { onlyOurs: ['ios/Podfile'] },
  'an .easignore that brings secrets': { onlyEas: ['.env.local', 'keys/a.p8'] },
  'info/exclude and the global rules': { onlyEas: ['mine.txt', 'x.globally-ignored'] },
};

const isNamed = ({ leftOut }: Source, path: string) =>
  leftOut.some((one) => (one.path.endsWith('/') ? path.startsWith(one.path) : path === one.path));

test.each(names)('%s: what eas-cli packs, but for differences that `pack --list` names', async (name) => {
  const { signal } = new AbortController();
  const source = await listSource({ appDir: treeOf.get(name)!.path, explain: true, signal });
  const eas = packedByEas.get(name)!;
  expect(eas.size).toBeGreaterThan(0);
  const ours = new Set(source.files.map(({ path }) => path));
  const onlyEas = [...eas.difference(ours)].sort();
  const onlyOurs = source.files.filter(({ path }) => !eas.has(path));
  const found = { onlyEas, onlyOurs: onlyOurs.map(({ path }) => path) };
  expect(found).toEqual({ onlyEas: [], onlyOurs: [], ...DIFFERENT[name] });
  expect(onlyEas.filter((path) => !isNamed(source, path))).toEqual([]);
  expect(onlyOurs.filter(({ difference }) => !difference)).toEqual([]);
});
