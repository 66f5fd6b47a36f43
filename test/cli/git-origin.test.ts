import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { gitOrigin, repositoryOf } from '../../cli/submit/git-origin.ts';
import { listSource } from '../../client/packing/list-source.ts';
import { project, Tree } from '../client/packing/trees.ts';

const { signal } = new AbortController();
const originOf = async (appDir: string) => gitOrigin(await listSource({ appDir, signal }), signal);
const git = (cwd: string, ...args: string[]) => execFileSync('git', args, { cwd, encoding: 'utf8' }).trim();

test('an origin has the commit, and says of the files whether they differ from it', async () => {
  using it = project();
  const { tree, path } = it;
  tree.write({ 'a.js': 'a', '.gitignore': '*.log\n', 'a.log': '' }).committed();
  tree.git('remote', 'add', 'origin', 'https://somebody:ghp_token@github.com/acme/shop.git');
  tree.git('commit', '-qm', 'Add the basket\n\n  It holds things.\u001b[31m', '--allow-empty');
  tree.git('tag', 'v1.9').git('tag', '-a', '-m', 'ten', 'v1.10').git('tag', 'odd/v1');
  const commit = git(path, 'rev-parse', 'HEAD');
  const clean = {
    ...{ repository: 'github.com/acme/shop', branch: 'main', commit, tag: 'v1.10', author: 'Somebody' },
    ...{ message: 'Add the basket\n\nIt holds things.[31m', commitCount: 2, dirty: false },
  };
  expect(await originOf(path)).toEqual(clean);
  tree.git('pack-refs', '--all').git('gc', '-q');
  expect(await originOf(path)).toEqual(clean);
  // Written anew with the same bytes.
  tree.write({ 'a.js': 'a' });
  expect(await originOf(path)).toEqual(clean);

  const changes: ((tree: Tree) => unknown)[] = [
    (one) => one.write({ 'a.js': 'b' }),
    (one) => one.write({ 'new.js': '' }),
    (one) => one.remove('a.js'),
    (one) => one.write({ 'a.js': 'b' }).git('add', '.'),
    (one) => one.executable('a.js'),
  ];
  for (const [index, change] of changes.entries()) {
    git(it.dir, 'clone', '-q', path, `copy-${index}`);
    const copy = new Tree(join(it.dir, `copy-${index}`));
    change(copy);
    expect(await originOf(copy.path), String(change)).toMatchObject({ commit, dirty: true });
  }
});

test('a worktree, a shallow clone, no branch, no commit and no repository have what there is to know', async () => {
  using it = project();
  const { tree, path, dir } = it;
  tree.write({ 'a.js': 'a' });
  expect(await originOf(path)).toBeNull();
  tree.git('init', '-q');
  expect(await originOf(path)).toEqual({ branch: 'main' });
  tree.committed().git('commit', '-qm', 'second', '--allow-empty');
  const commit = git(path, 'rev-parse', 'HEAD');
  tree.git('worktree', 'add', '-q', join(dir, 'tree'), '-b', 'topic/one');
  expect(await originOf(join(dir, 'tree'))).toMatchObject({
    branch: 'topic/one',
    commit,
    commitCount: 2,
    dirty: false,
  });
  git(dir, 'clone', '-q', '--depth=1', `file://${path}`, 'shallow');
  const shallow = await originOf(join(dir, 'shallow'));
  expect(shallow).toMatchObject({ commit, message: 'second', dirty: false });
  expect(shallow).not.toHaveProperty('commitCount');
  expect(shallow).not.toHaveProperty('repository');
  tree.git('checkout', '-q', '--detach');
  expect(await originOf(path)).not.toHaveProperty('branch');
});

test.for([
  ['git@github.com:acme/shop.git', 'github.com/acme/shop'],
  ['ssh://git@ssh.github.com:443/acme/shop.git', 'ssh.github.com/acme/shop'],
  ['https://token@git.example.com:8443/group/sub/shop/', 'git.example.com:8443/group/sub/shop'],
  ['/srv/git/shop.git', null],
  ['file:///srv/git/shop.git', null],
  ['../shop', null],
  ['ext::sh -c evil', null],
  ['https://example.com/a b', null],
] as const)('the remote %s is the repository %s', ([remote, repository]) => {
  expect(repositoryOf(remote)).toBe(repository);
});
