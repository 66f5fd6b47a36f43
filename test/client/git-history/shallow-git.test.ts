/** Tests the `.git` that a build gets, with git itself in what an archive of it unpacks to. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withShallowGit } from '../../../client/git-history/shallow-git.ts';
import { writeArchive } from '../../../client/packing/archive.ts';
import { listSource } from '../../../client/packing/list-source.ts';
import { project, Tree } from '../packing/trees.ts';

const { signal } = new AbortController();
const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, HOME: cwd, GIT_CONFIG_NOSYSTEM: '1' },
  }).trim();

let packed = 0;
/** Packs the source with its `.git`, and unpacks it as a VM does. */
async function inVm(path: string, dir: string, depth = 1): Promise<{ vm: string; sha256: string }> {
  const vm = join(dir, `vm-${++packed}`);
  const source = await listSource({ appDir: path, signal });
  const archive = await withShallowGit(source.root, depth, signal, (files) =>
    writeArchive(source.root, [...source.files, ...files], `${vm}.tar.gz`, { signal }),
  );
  mkdirSync(vm);
  execFileSync('tar', ['-xf', archive.path, '-C', vm]);
  return { vm, sha256: archive.sha256 };
}

const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(dir, name)).isFile());

test('a build sees commit, branch, tags and what differs from the commit, and no remote and no hook', async () => {
  using it = project();
  const { tree, path, dir } = it;
  tree.write({ 'a.js': 'a', 'run.sh': '#!/bin/sh\n', 'odd name é': 'x' }).executable('run.sh').link('link', 'a.js');
  tree.committed().git('tag', 'v1.0');
  tree.git('commit', '-qm', 'second', '--allow-empty').git('tag', '-a', '-m', 'ten', 'v1.1');
  tree.write({ 'b.js': 'b' }).git('add', '.').git('commit', '-qm', 'third');
  tree.git('remote', 'add', 'origin', 'https://somebody:ghp_password@github.com/acme/shop.git');
  tree.write({ '.git/hooks/post-checkout': '#!/bin/sh\n', '.git/info/exclude': 'of-this-machine\n' });
  const commit = git(path, 'rev-parse', 'HEAD');

  const { vm } = await inVm(path, dir);
  expect(git(vm, 'rev-parse', 'HEAD', '--abbrev-ref', 'HEAD')).toBe(`${commit}\nmain`);
  expect(git(vm, 'status', '--porcelain', '--branch')).toBe('## main');
  expect(git(vm, 'rev-list', '--count', 'HEAD')).toBe('1');
  expect(git(vm, 'remote')).toBe('');
  expect(git(vm, 'fsck', '--no-dangling')).toBe('');
  for (const name of filesBelow(join(vm, '.git'))) {
    expect(name).not.toMatch(/hooks|logs|exclude|FETCH_HEAD|origin/);
    expect(readFileSync(join(vm, '.git', name), 'latin1')).not.toMatch(/ghp_password|github|expo-build-git/);
  }
  writeFileSync(join(vm, 'a.js'), 'changed');
  writeFileSync(join(vm, 'new.js'), '');
  expect(git(vm, 'status', '--porcelain')).toBe('M a.js\n?? new.js');

  const deeper = await inVm(path, dir, 2);
  expect(git(deeper.vm, 'describe', '--tags', '--dirty')).toBe(`v1.1-1-g${commit.slice(0, 7)}`);
  expect(git(deeper.vm, 'log', '--format=%s')).toBe('third\nsecond');
  expect(git((await inVm(path, dir, 1_000)).vm, 'tag', '--merged')).toBe('v1.0\nv1.1');
});

test('the same commits make the same archive, whatever git has done with the repository meanwhile', async () => {
  using it = project();
  const { tree, path, dir } = it;
  tree.write(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`d${i % 7}/f${i}`, `line\n`.repeat(i)])));
  tree.committed();
  for (let i = 0; i < 5; i++) tree.write({ 'd1/f1': `${i}` }).git('commit', '-qam', `${i}`);
  for (const depth of [1, 4]) {
    const first = await inVm(path, dir, depth);
    tree.git('gc', '-q', '--prune=now').git('pack-refs', '--all');
    expect((await inVm(path, dir, depth)).sha256).toBe(first.sha256);
    tree.git('remote', 'add', `r${depth}`, 'https://github.com/acme/other.git').git('branch', `topic-${depth}`);
    git(dir, 'clone', '-q', path, `copy-${depth}`);
    expect((await inVm(join(dir, `copy-${depth}`), dir, depth)).sha256).toBe(first.sha256);
  }
});

test('a worktree, no branch, a shallow clone and submodules have a .git, and what has no commit has none', async () => {
  using it = project();
  const { tree, path, dir } = it;
  tree.write({ 'a.js': 'a' });
  await expect(inVm(path, dir)).rejects.toThrow('not the root of a git repository');
  tree.git('init', '-q');
  await expect(inVm(path, dir)).rejects.toThrow('has no commit');
  tree.committed().submodule('lib', { 'lib.js': 'lib' }).git('commit', '-qm', 'second');
  const commit = git(path, 'rev-parse', 'HEAD');
  const withModule = await inVm(path, dir);
  expect(readFileSync(join(withModule.vm, 'lib/lib.js'), 'utf8')).toBe('lib');
  expect(git(withModule.vm, 'status', '--porcelain')).toBe('');
  tree.git('worktree', 'add', '-q', join(dir, 'tree'), '-b', 'topic/one');
  expect(git((await inVm(join(dir, 'tree'), dir)).vm, 'branch', '--show-current')).toBe('topic/one');
  git(dir, 'clone', '-q', '--depth=1', `file://${path}`, 'shallow');
  const shallow = await inVm(join(dir, 'shallow'), dir, 5);
  expect(git(shallow.vm, 'log', '--format=%H')).toBe(commit);
  tree.git('checkout', '-q', '--detach');
  const detached = await inVm(path, dir);
  expect(git(detached.vm, 'rev-parse', 'HEAD', '--abbrev-ref', 'HEAD')).toBe(`${commit}\nHEAD`);
  expect(git(detached.vm, 'status', '--porcelain')).toBe('');
});

test('nothing of a hostile repository is run, and no objects of another one go along', async () => {
  using it = project();
  const { tree, path, dir } = it;
  const ran = join(dir, 'ran');
  const script = `#!/bin/sh\ntouch '${ran}'\n`;
  tree.write({ 'a.js': 'a', '.gitattributes': '* filter=x\n' }).committed();
  tree.write({ run: script }).executable('run');
  for (const hook of [
    'post-checkout',
    'reference-transaction',
    'post-index-change',
    'pre-auto-gc',
    'fsmonitor-watchman',
  ])
    tree.write({ [`.git/hooks/${hook}`]: script }).executable(`.git/hooks/${hook}`);
  tree.write({
    '.git/config': `[core]
fsmonitor = ${path}/run
hooksPath = ${path}/.git/hooks
alternateRefsCommand = ${path}/run
sshCommand = ${path}/run
[uploadpack]
packObjectsHook = ${path}/run
[filter "x"]
clean = ${path}/run
smudge = ${path}/run
process = ${path}/run
required
`,
  });
  const { vm } = await inVm(path, dir);
  expect(existsSync(ran)).toBe(false);
  expect(readFileSync(join(vm, '.git/config'), 'utf8')).not.toContain('run');
  expect(git(vm, 'log', '--format=%s')).toBe('first');

  const other = new Tree(join(dir, 'other')).write({ secret: 'secret' }).committed();
  tree.write({ '.git/objects/info/alternates': `${other.path}/.git/objects\n` });
  writeFileSync(join(path, '.git/refs/heads/main'), `${git(other.path, 'rev-parse', 'HEAD')}\n`);
  await expect(inVm(path, dir)).rejects.toThrow('has objects of another repository');
});
