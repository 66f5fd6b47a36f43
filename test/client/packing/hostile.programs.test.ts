/** Lists projects whose authors are hostile, under strace: no file outside of them is opened. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listSource } from '../../../client/packing/list-source.ts';
import { findSecretFiles } from '../../../client/packing/secret-files.ts';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { project, Tree } from './trees.ts';

const { signal } = new AbortController();

/** `outside` stands for any file of the person. Any program that is run makes `ran`. */
type Make = (tree: Tree, outside: string, ran: string) => unknown;

const executable = (tree: Tree, path: string, ran: string) =>
  tree.write({ [path]: `#!/bin/sh\ntouch '${ran}'\n` }).executable(path);

const CONFIGS: Record<string, (tree: Tree, outside: string, ran: string) => string> = {
  'core.fsmonitor': (tree, _, ran) => `[core]\nfsmonitor = ${executable(tree, 'run', ran).path}/run\n`,
  'core.hooksPath': (tree, _, ran) => {
    for (const hook of ['post-index-change', 'fsmonitor-watchman']) executable(tree, `hooks/${hook}`, ran);
    return `[core]\nhooksPath = ${tree.path}/hooks\n`;
  },
  'a filter': (tree, _, ran) => {
    executable(tree, 'run', ran).write({ '.gitattributes': '* filter=x\n' });
    return `[filter "x"]\nclean = ${tree.path}/run\nsmudge = ${tree.path}/run\nprocess = ${tree.path}/run\nrequired\n`;
  },
  'a pager and an alias': (tree, _, ran) =>
    `[core]\npager = ${executable(tree, 'run', ran).path}/run\n[alias]\nls-files = !${tree.path}/run\n`,
  'core.worktree': (_, outside) => `[core]\nworktree = ${outside}\n`,
  'core.excludesFile': (_, outside) => `[core]\nexcludesFile = ${outside}/secret\n`,
  'core.attributesFile': (_, outside) => `[core]\nattributesFile = ${outside}/secret\n`,
  'include.path': (_, outside) => `[include]\npath = ${outside}/secret\n`,
};

const REPOSITORIES: Record<string, Make> = {
  ...Object.fromEntries(
    Object.entries(CONFIGS).map(([name, config]) => [
      `a config with ${name}`,
      (tree: Tree, outside: string, ran: string) => {
        tree.write({ 'a.js': '' }).committed();
        const text = config(tree, outside, ran);
        tree.write({ '.git/config': text, 'new.js': '' });
      },
    ]),
  ),
  hooks: (tree, _, ran) => {
    tree.write({ 'a.js': '' }).committed();
    for (const hook of ['post-index-change', 'fsmonitor-watchman', 'post-checkout'])
      executable(tree, `.git/hooks/${hook}`, ran);
  },
  'a .git that names another folder': (tree, outside) => tree.write({ 'a.js': '', '.git': `gitdir: ${outside}\n` }),
  'an index, an exclude file and ignore files that are links': (tree, outside) => {
    tree.write({ 'a.js': '', 'b/c.js': '' }).committed().remove('.git/index').remove('.git/info/exclude');
    for (const path of ['.git/index', '.git/info/exclude', '.gitignore', 'b/.gitignore'])
      tree.link(path, `${outside}/secret`);
  },
  'an .easignore that is a link': (tree, outside) => tree.write({ 'a.js': '' }).link('.easignore', `${outside}/secret`),
  'a folder that a link replaces': (tree, outside) => {
    tree.write({ 'src/secret': '', 'a.js': '' }).committed().remove('src').link('src', outside);
  },
  'a submodule that names another folder': (tree, outside) => {
    tree.write({ 'a.js': '' }).committed().submodule('lib', { 'l.c': '' });
    tree.remove('lib/.git').write({ 'lib/.git': `gitdir: ${outside}\n` });
  },
  'an index with a path out of the project': (tree) => {
    tree.write({ 'xx/secret': '', 'a.js': '' }).committed();
    const index = readFileSync(join(tree.path, '.git/index'));
    // The checksum at its end may be left out since git 2.40, and git does not check it here.
    writeFileSync(join(tree.path, '.git/index'), index.toString('latin1').replace('xx/secret', '../secret'), 'latin1');
  },
  'a config with a program for signatures, for a transport and for differences': (tree, _, ran) => {
    executable(tree, 'run', ran).write({ 'a.js': '', '.gitattributes': '* diff=x\n' }).committed();
    const { path } = tree;
    tree.write({
      'a.js': 'changed',
      '.git/config': `[log]\nshowSignature = true\n[gpg]\nprogram = ${path}/run\n[diff]\nexternal = ${path}/run\n[diff "x"]\ntextconv = ${path}/run\n[core]\nsshCommand = ${path}/run\nrepositoryFormatVersion = 1\n[extensions]\npartialClone = origin\n[remote "origin"]\nurl = ext::${path}/run\npromisor = true\n[core]\nalternateRefsCommand = ${path}/run\n`,
    });
  },
  'objects of another repository': (tree, outside) =>
    tree
      .write({ 'a.js': '' })
      .committed()
      .write({ '.git/objects/info/alternates': `${outside}\n` }),
  'refs, tags and packs that are links': (tree, outside) => {
    tree.write({ 'a.js': '' }).committed().remove('.git/refs/tags').link('.git/refs/tags', outside);
    tree.remove('.git/HEAD').write({ '.git/HEAD': 'ref: refs/heads/link/secret\n' });
    tree.link('.git/refs/heads/link', outside).link('.git/packed-refs', `${outside}/secret`);
    tree.link('.git/objects/pack/pack-x.idx', `${outside}/index`);
  },
  'configuration files that are links': (tree, outside) => {
    tree.write({ 'a.js': '' });
    for (const path of ['expo-build.json', 'credentials.json', 'eas.json']) tree.link(path, `${outside}/secret`);
  },
};

const LIST_ALL = `
const { listSource } = await import(process.env.PACKING + '/list-source.ts');
const { findSecretFiles } = await import(process.env.PACKING + '/secret-files.ts');
const { writeArchive } = await import(process.env.PACKING + '/archive.ts');
const { gitOrigin } = await import(process.env.PACKING + '/../../cli/submit/git-origin.ts');
const { withShallowGit } = await import(process.env.PACKING + '/../git-history/shallow-git.ts');
const { signal } = new AbortController();
for (const appDir of process.argv.slice(1)) {
  try {
    const source = await listSource({ appDir, explain: true, signal });
    const { sent } = await findSecretFiles(source, [], appDir);
    await writeArchive(source.root, source.files, process.env.ARCHIVE, { signal });
    const origin = (await gitOrigin(source, signal))?.origin ?? null;
    const git = await withShallowGit(source.root, 2, signal, async (files) => files.length).catch(({ name }) => name);
    console.log(JSON.stringify({ files: source.files.map(({ path }) => path), sent, origin, git }));
  } catch (error) {
    console.log(JSON.stringify({ name: error.name, message: error.message }));
  }
}
`;

const hasStrace = ['/usr/bin/strace', '/bin/strace'].some((path) => existsSync(path));
if (!hasStrace && process.env.CI) throw new Error('in CI strace must be there: `sudo apt-get install strace`');

test.skipIf(!hasStrace)('no repository makes git run a program or open a file outside of it', () => {
  using it = project();
  const outside = new Tree(join(it.dir, 'outside')).write({
    secret: 'a.js\n',
    index: 'x',
    'info/exclude': 'a.js',
  }).path;
  const ran = join(it.dir, 'ran');
  const names = Object.keys(REPOSITORIES);
  const folders = names.map((name, index) => {
    const tree = new Tree(join(it.dir, `tree-${index}`));
    REPOSITORIES[name]!(tree, outside, ran);
    return tree.path;
  });
  // Programs that git ran while the projects were made do not count.
  if (existsSync(ran)) renameSync(ran, `${ran}-before`);
  const trace = join(it.dir, 'trace');
  mkdirSync(join(it.dir, 'tmp'));
  const env = {
    ...process.env,
    PACKING: join(PROJECT_ROOT, 'client/packing'),
    ARCHIVE: join(it.dir, 'a.tar.gz'),
    TMPDIR: join(it.dir, 'tmp'),
  };
  const traced = [
    '-f',
    '-qq',
    '--seccomp-bpf',
    '-e',
    'trace=open,openat,openat2,execve',
    '-e',
    'signal=none',
    '-o',
    trace,
  ];
  const args = [...traced, process.execPath, '--input-type=module', '-e', LIST_ALL, ...folders];
  const answers = execFileSync('strace', args, { encoding: 'utf8', env }).trim().split('\n');
  const calls = readFileSync(trace, 'utf8').split('\n');
  expect(calls.some((line) => line.includes('ls-files'))).toBe(true);
  // A file that a project names may be missing. Packing must not even try to open it.
  expect(calls.filter((line) => line.includes(outside) && !line.includes('execve('))).toEqual([]);
  expect(existsSync(ran)).toBe(false);
  const answerOf = (name: string) => JSON.parse(answers[names.indexOf(name)]!);
  for (const name of names.filter((one) => one.startsWith('a config') || one === 'hooks')) {
    expect(answerOf(name).files, name).toContain('a.js');
    expect(answerOf(name).origin?.commit, name).toMatch(/^[0-9a-f]{40}$/);
    expect(answerOf(name).git, name).toBeGreaterThan(0);
  }
  expect(answerOf('objects of another repository').origin).toEqual({ branch: 'main', commit: expect.any(String) });
  for (const name of ['objects of another repository', 'refs, tags and packs that are links'])
    expect(answerOf(name).git, name).toBe('SourceError');
  expect(answerOf('a .git that names another folder').message).toContain('does not name');
  expect(answerOf('a submodule that names another folder').message).toContain('does not name');
  expect(answerOf('an index with a path out of the project').name).toBe('SourceError');
  expect(answerOf('a folder that a link replaces').message).toContain('leads out of');
  for (const answer of answers.map((line) => JSON.parse(line)))
    expect(answer, JSON.stringify(answer)).toSatisfy(
      ({ name, sent }: { name?: string; sent?: unknown[] }) => name === 'SourceError' || sent?.length === 0,
    );
});

/** Forty ways to name a file outside of the project from a file within it. */
const WAYS_OUT = [
  ...['../secret', '../../etc/passwd', '/etc/passwd', './../secret', 'a/../../secret', 'a/b/../../../secret', '..'],
  ...['link', 'link/secret', 'a/link/secret', 'chain', 'chain/secret', 'file-link', './file-link', 'a/../link/secret'],
  ...[
    'link/../secret',
    'link/.',
    'chain/./secret',
    'a/file-link',
    '.',
    './',
    '/',
    '//etc/passwd',
    '../project/../secret',
  ],
] as const;
const FIELDS = [
  (path: string) => ({ 'expo-build.json': { secretFiles: [path] } }),
  (path: string) => ({ 'credentials.json': { ios: { provisioningProfilePath: path } } }),
  (path: string) => ({ 'credentials.json': { ios: { One: { distributionCertificate: { path } } } } }),
  (path: string) => ({ 'credentials.json': { android: { keystore: { keystorePath: path } } } }),
];

test('a path of expo-build.json or credentials.json never leads out of the project', async () => {
  using it = project();
  const outside = new Tree(join(it.dir, 'outside')).write({ secret: 'secret', project: '' }).path;
  writeFileSync(join(it.dir, 'secret'), 'secret');
  it.tree.write({ 'a.js': '', 'a/b/c': '', '.easignore': '*link\nchain\n' });
  it.tree.link('link', outside).link('a/link', '../../outside').link('chain', 'a/link');
  it.tree.link('file-link', `${outside}/secret`).link('a/file-link', '../../outside/secret');
  const source = await listSource({ appDir: it.path, signal });
  for (const path of WAYS_OUT)
    for (const field of FIELDS) {
      const [[name, value] = ['', {}]] = Object.entries(field(path));
      it.tree.write({ 'credentials.json': '{}', 'expo-build.json': '{}', [name]: JSON.stringify(value) });
      const answer = await findSecretFiles(source, [], it.path).catch((error: Error) => error);
      if (answer instanceof Error) expect(answer.message, `${name} ${path}`).toMatch(/leads out of|is not a file/);
      // Some ways end within the project, at a file that is not there.
      else
        expect(
          answer.sent.map(({ file }) => file),
          `${name} ${path}`,
        ).toEqual([join(it.path, 'credentials.json')]);
    }
});
