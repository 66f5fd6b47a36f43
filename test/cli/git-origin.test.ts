import { execFileSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { gitOrigin, repositoryOf } from '../../cli/submit/git-origin.ts';
import { originOf as originInJob } from '../../cli/submit/origin.ts';
import { listSource } from '../../client/packing/list-source.ts';
import { project, Tree } from '../client/packing/trees.ts';
import { until } from '../worker-agent/factories/until.ts';
import { GITHUB_JOBS, type GithubJob, githubEnv } from './actions/github-events.ts';

const { signal } = new AbortController();
const sourceIn = (appDir: string) => listSource({ appDir, signal });
const originOf = async (appDir: string) => (await gitOrigin(await sourceIn(appDir), signal))?.origin ?? null;
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
  // The file is written anew with the same bytes.
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

test('a file of the same size is seen as changed if it was changed in the second in which git had written it', async () => {
  using it = project();
  it.tree.write({ 'a.js': 'a' }).committed();
  const changedInOneSecond = () => {
    for (let index = 0; ; index++) {
      git(it.dir, 'clone', '-q', it.path, `copy-${index}`);
      const copy = new Tree(join(it.dir, `copy-${index}`));
      const second = () => Math.floor(statSync(join(copy.path, 'a.js')).mtimeMs / 1_000);
      const written = second();
      copy.write({ 'a.js': 'b' });
      if (second() === written) return { copy, nextSecond: written + 1 };
    }
  };
  const { copy, nextSecond } = changedInOneSecond();
  await until(() => Date.now() / 1_000 > nextSecond, 'the next second');
  expect(await originOf(copy.path)).toMatchObject({ dirty: true });
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
  // git leaves HEAD like this where it keeps the branches in reftables.
  writeFileSync(join(path, '.git/HEAD'), 'ref: refs/heads/.invalid\n');
  expect(await originOf(path)).toBeNull();
});

test('in a job the event counts only for the commit that is checked out, or that its merge is made of', async () => {
  using it = project();
  const { tree, path, dir } = it;
  tree.write({ 'a.js': 'a' }).committed();
  const head = () => git(path, 'rev-parse', 'HEAD');
  const base = head();
  tree.git('checkout', '-qb', 'total').write({ 'b.js': 'b' }).git('add', '.').git('commit', '-qm', 'pull');
  const pull = head();
  tree.git('checkout', '-q', 'main').git('commit', '-qm', 'other', '--allow-empty');
  const main = head();
  tree.git('checkout', '-q', '--detach').git('merge', '-q', '--no-ff', '-m', 'Merge', pull);
  const merge = head();
  const event = join(dir, 'event.json');
  const inJob = async (job: GithubJob, sha: string, checkedOut: string) => {
    writeFileSync(event, JSON.stringify(job.payload).replaceAll(HEAD, pull).replaceAll(MERGE, merge));
    tree.git('checkout', '-q', '--detach', checkedOut);
    const variables = { ...githubEnv(job), GITHUB_SHA: sha, GITHUB_EVENT_PATH: event };
    for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
    const { commit, branch, pullRequest, message, url } = (await originInJob(await sourceIn(path), signal))!;
    expect(url).toBe('https://github.com/acme/shop/actions/runs/30433643');
    return [commit, branch, pullRequest, message?.split('\n')[0]];
  };
  const { push, pullRequest, forkWithSecrets, dispatch, workflowRun } = GITHUB_JOBS;
  const comment = { ...dispatch, event: 'issue_comment' };
  const byEvent = [pull, 'total', 12, 'Show the total'];
  try {
    expect(await inJob(pullRequest, merge, merge)).toEqual(byEvent);
    expect(await inJob(pullRequest, merge, pull)).toEqual(byEvent);
    expect(await inJob(pullRequest, merge, base)).toEqual([base, undefined, undefined, 'first']);
    expect(await inJob(forkWithSecrets, main, main)).toEqual([main, undefined, undefined, 'other']);
    expect(await inJob(forkWithSecrets, main, merge)).toEqual(byEvent);
    expect(await inJob(workflowRun, main, main)).toEqual([main, undefined, undefined, 'other']);
    expect(await inJob(workflowRun, main, pull)).toEqual([pull, 'total', undefined, 'Checkout: show the total']);
    for (const job of [push, dispatch, comment]) {
      expect(await inJob(job, main, pull)).toEqual([pull, undefined, undefined, 'pull']);
      expect(await inJob(job, main, merge)).toEqual([merge, undefined, undefined, 'Merge']);
    }
    expect(await inJob(dispatch, main, main)).toEqual([main, 'main', undefined, 'other']);
  } finally {
    vi.unstubAllEnvs();
  }
});

const HEAD = '4a1f0c7b9d2e3f5061728394a5b6c7d8e9f00112';
const MERGE = 'f'.repeat(40);

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
