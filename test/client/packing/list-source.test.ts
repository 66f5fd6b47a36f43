import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ListOptions, listSource, type Source } from '../../../client/packing/list-source.ts';
import { findSecretFiles } from '../../../client/packing/secret-files.ts';
import { largeFoldersOf, warningsOf } from '../../../client/packing/warnings.ts';
import { project, type Tree } from './trees.ts';

const { signal } = new AbortController();

const listed = ({ path }: Tree, options: Partial<ListOptions> = {}) =>
  listSource({ appDir: path, explain: true, signal, ...options });

const pathsOf = ({ files }: Source) => files.map(({ path }) => path);

const marksOf = ({ files }: Source) =>
  Object.fromEntries(
    files.flatMap(({ path, difference, rule }) =>
      difference ? [[path, rule ? `${difference}: ${rule}` : difference]] : [],
    ),
  );

const leftOutOf = ({ leftOut }: Source) => Object.fromEntries(leftOut.map(({ path, why }) => [path, why]));

test("git's view: tracked and new files, without what is ignored, deleted, or always left out", async () => {
  using it = project();
  it.tree
    .write({ '.gitignore': '*.log\n', 'a/.gitignore': '!keep.log\n', 'gone.js': '', 'b.js': '', 'node_modules/x': '' })
    .committed()
    .remove('gone.js')
    .write({ 'a/keep.log': '', 'b.log': '', 'new.js': '', '._new.js': '', 'forced.log': '' })
    .git('add', '-f', 'forced.log');
  execFileSync('mkfifo', [join(it.path, 'a/pipe'), join(it.path, 'node_modules/pipe')]);
  const source = await listed(it.tree);
  expect(source).toMatchObject({ root: it.path, appRoot: '.', decidedBy: 'git' });
  expect(pathsOf(source)).toEqual(['.gitignore', 'a/.gitignore', 'a/keep.log', 'b.js', 'forced.log', 'new.js']);
  expect(marksOf(source)).toEqual({
    'a/keep.log': 'kept_by_negated_rule: a/.gitignore:1 !keep.log',
    'forced.log': 'tracked_although_ignored: .gitignore:1 *.log',
  });
  expect(leftOutOf(source)).toEqual({
    '._new.js': 'apple_double',
    'a/pipe': 'no_file',
    'b.log': 'ignored',
    'gone.js': 'deleted',
    'node_modules/x': 'always',
  });
});

test('an .easignore at the root replaces the rules of git, and with `easignoreAdds` takes more away', async () => {
  using it = project();
  it.tree
    .write({ '.gitignore': 'gen/\n', '.easignore': 'docs\n', 'gen/a.js': '', 'docs/a.md': '', 'b.js': '' })
    .write({ 'node_modules/x': '' })
    .committed();
  const source = await listed(it.tree);
  expect(source.decidedBy).toBe('easignore');
  expect(pathsOf(source)).toEqual(['.easignore', '.gitignore', 'b.js', 'gen/a.js']);
  expect(marksOf(source)).toEqual({ 'gen/a.js': 'brought_by_easignore' });
  expect(leftOutOf(source)).toEqual({ '.git/': 'always', 'docs/': 'easignore', 'node_modules/': 'always' });
  const adds = await listed(it.tree, { easignoreAdds: true });
  expect(pathsOf(adds)).toEqual(['.easignore', '.gitignore', 'b.js']);
  expect(leftOutOf(adds)).toMatchObject({ 'docs/a.md': 'easignore', 'gen/': 'ignored' });
});

test('an .easignore beside eas.json replaces them for its own folder, and one at the root goes before it', async () => {
  using it = project();
  it.tree
    .write({ '.gitignore': 'gen/\n', 'gen/root.js': '', 'apps/one/gen/a.js': '', 'apps/one/.easignore': 'b.md\n' })
    .write({ 'apps/one/b.md': '', 'b.md': '' })
    .committed();
  const appDir = join(it.path, 'apps/one');
  const source = await listed(it.tree, { appDir });
  expect(source.appRoot).toBe('apps/one');
  expect(pathsOf(source)).toEqual(['.gitignore', 'apps/one/.easignore', 'apps/one/gen/a.js', 'b.md']);
  expect(leftOutOf(source)).toMatchObject({ 'gen/': 'ignored', 'apps/one/b.md': 'easignore' });
  it.tree.write({ '.easignore': 'gen/a.js\n*.md\n', 'apps/one/.easignore': '!b.md\n' });
  expect(pathsOf(await listed(it.tree, { appDir }))).toEqual([
    ...['.easignore', '.gitignore', 'apps/one/.easignore', 'apps/one/b.md', 'apps/one/gen/a.js', 'gen/root.js'],
  ]);
});

test('without git the .gitignore files decide, as git reads them', async () => {
  using it = project();
  it.tree.write({ '.gitignore': '*.log\nout/\n', 'a/.gitignore': '!keep.log\n', 'a/keep.log': '', 'b.log': '' });
  it.tree.write({ 'out/.gitignore': '!x\n', 'out/x': '', 'apps/one/a.js': '' }).link('link', 'a');
  const source = await listed(it.tree);
  expect(source.decidedBy).toBe('gitignore_files');
  expect(pathsOf(source)).toEqual(['.gitignore', 'a/.gitignore', 'a/keep.log', 'apps/one/a.js', 'link']);
  expect(leftOutOf(source)).toEqual({ 'b.log': 'ignored', 'out/': 'ignored' });
  const monorepo = await listed(it.tree, { appDir: join(it.path, 'apps/one'), root: it.path });
  expect([monorepo.appRoot, pathsOf(monorepo)]).toEqual(['apps/one', pathsOf(source)]);
  await expect(listed(it.tree, { root: join(it.path, 'apps') })).rejects.toThrow('is not in');
});

test('--include brings ignored files and whole folders, and says when it fits nothing', async () => {
  using it = project();
  it.tree.write({
    '.gitignore': 'gen/\n*.env\n',
    'gen/a/b.js': '',
    'a.env': '',
    'apps/one/b.env': '',
    'node_modules/c': '',
  });
  it.tree.committed();
  const source = await listed(it.tree, { include: ['gen', '**/*.env'] });
  expect(marksOf(source)).toEqual(
    Object.fromEntries(['gen/a/b.js', 'a.env', 'apps/one/b.env'].map((path) => [path, 'brought_by_include'])),
  );
  const inApp = await listed(it.tree, { appDir: join(it.path, 'apps/one'), include: ['*.env', '../../gen/**'] });
  expect(Object.keys(marksOf(inApp))).toEqual(['apps/one/b.env', 'gen/a/b.js']);
  await expect(listed(it.tree, { include: ['nothing*'] })).rejects.toThrow('--include nothing* fits no file');
  await expect(listed(it.tree, { include: ['node_modules/c'] })).rejects.toThrow(
    'node_modules and .git never go along',
  );
  await expect(listed(it.tree, { include: ['../x'] })).rejects.toThrow('leads out of');
  for (const glob of ['', '.', '../..'])
    await expect(listed(it.tree, { appDir: join(it.path, 'apps/one'), include: [glob] })).rejects.toThrow(
      `--include "${glob}" would bring all that is ignored in ${it.path}/apps/one, also secrets.`,
    );
});

test('submodules are walked by their own rules; one that is not checked out is a warning', async () => {
  using it = project();
  it.tree.write({ 'package.json': '' }).committed().submodule('lib', { 'l.c': '', '.gitignore': '*.o\n' });
  it.tree.write({ 'lib/l.o': '', 'lib/new.c': '' }).submodule('other', { 'o.c': '' });
  it.tree.git('submodule', 'deinit', '-f', 'other');
  const source = await listed(it.tree);
  expect(pathsOf(source)).toEqual(['.gitmodules', 'lib/.gitignore', 'lib/l.c', 'lib/new.c', 'package.json']);
  expect(leftOutOf(source)).toEqual({ 'lib/l.o': 'ignored', 'other/': 'not_checked_out' });
  expect(warningsOf(source)).toMatchObject([{ code: 'submodule_not_checked_out', path: 'other/' }]);
});

test('a linked worktree and a submodule are packed by themselves, too', async () => {
  using it = project();
  it.tree.write({ 'a.js': '', '.gitignore': '*.log\n' }).committed().submodule('lib', { 'l.c': '' });
  it.tree.write({ '.git/info/exclude': 'mine\n' }).git('worktree', 'add', '-q', '../other');
  const other = join(it.dir, 'other');
  it.tree.write({ '../other/mine': '', '../other/b.log': '', '../other/new.js': '' });
  expect(pathsOf(await listed(it.tree, { appDir: other }))).toEqual(['.gitignore', 'a.js', 'new.js']);
  expect(pathsOf(await listed(it.tree, { appDir: join(it.path, 'lib') }))).toEqual(['l.c']);
});

test.each([
  ['split', ['update-index', '--split-index']],
  ['sparse', ['sparse-checkout', 'set', '--cone', '--sparse-index', 'a']],
  ['of version 4', ['update-index', '--index-version', '4']],
])('an index that is %s is read', async (_name, args) => {
  using it = project();
  it.tree
    .write({ 'root.js': '', 'a/x.js': '', 'b/y.js': '', 'b/c/z.js': '' })
    .committed()
    .git(...args);
  const source = await listed(it.tree);
  const isSparse = args.includes('--sparse-index');
  expect(pathsOf(source)).toEqual(isSparse ? ['a/x.js', 'root.js'] : ['a/x.js', 'b/c/z.js', 'b/y.js', 'root.js']);
});

test('a repository with SHA-256, one in a conflict, and a folder in place of a file are listed', async () => {
  using it = project();
  it.tree.git('init', '-q', '--object-format=sha256').write({ 'a.js': '1', 'b.js': '' }).git('add', '.');
  it.tree
    .git('commit', '-qm', 'one')
    .git('checkout', '-qb', 'other')
    .write({ 'a.js': '2' })
    .git('commit', '-qam', 'two');
  it.tree.git('checkout', '-q', '-').write({ 'a.js': '3' }).git('commit', '-qam', 'three');
  expect(() => it.tree.git('merge', 'other')).toThrow();
  it.tree.remove('b.js').write({ 'b.js/c.js': '' });
  const source = await listed(it.tree);
  expect(pathsOf(source)).toEqual(['a.js', 'b.js/c.js']);
});

test('pointers of Git LFS are an error that says how to fetch the files', async () => {
  using it = project();
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 12345\n`;
  it.tree.write({ 'a.png': pointer, 'b/c.png': pointer, 'c.png': 'the file itself' });
  expect((await listed(it.tree)).files).toHaveLength(3);
  it.tree.write({ '.gitattributes': '*.png filter=lfs diff=lfs merge=lfs -text\n' }).committed();
  await expect(listed(it.tree)).rejects.toThrow(
    '"a.png", "b/c.png" are pointers of Git LFS and not the files themselves. Fetch them: `git lfs install && git lfs pull`',
  );
});

test('links that leave the root are refused by name, also over other links', async () => {
  using it = project();
  it.tree.write({ 'a/b/c.js': '' }).link('up', 'a/..').link('a/in', '../up/a/b').committed();
  expect(pathsOf(await listed(it.tree))).toContain('a/in');
  it.tree.link('a/out', '../up/../x').link('absolute', '/etc/hosts').link('out', '../secret');
  await expect(listed(it.tree)).rejects.toThrow(
    /^"a\/out → \.\.\/up\/\.\.\/x", "absolute → \/etc\/hosts", "out → \.\.\/secret" are links that lead out of/,
  );
  it.tree.write({ '.easignore': 'out\nabsolute\n' });
  expect(pathsOf(await listed(it.tree))).not.toContain('absolute');
});

test('what looks like a secret and goes along without git is shown, with what to do', async () => {
  using it = project();
  it.tree.write({ 'package.json': '', '.gitignore': '.env\n*.p8\n', '.env': '', 'a.p8': '' }).committed();
  it.tree.write({ 'credentials.json': '{}', '.env.local': '', '.env.example': '', 'google-services.json': '{}' });
  const shown = async (options: Partial<ListOptions> = {}) =>
    warningsOf(await listed(it.tree, options)).map(
      ({ code, path, message }) => `${code}: ${path}: ${/as it is: (.*), and send/.exec(message)?.[1]}`,
    );
  const gitignore = 'no rule ignores it. Name it in .gitignore';
  expect(await shown({ include: ['*.p8'] })).toEqual([
    `secret_in_archive: .env.local: ${gitignore}`,
    'secret_in_archive: a.p8: `--include` brings it. Take it out of there',
    `secret_in_archive: credentials.json: ${gitignore}`,
  ]);
  it.tree.link('out', '/etc/hosts');
  await expect(listed(it.tree)).rejects.toThrow('or name it in .easignore and give `--easignore-adds`');
  it.tree.write({ '.easignore': 'out\ncredentials.json\n.env.local\n' });
  expect(await shown()).toEqual([]);
  expect(await shown({ easignoreAdds: true })).toEqual([]);
});

test.each([true, false])('no file of the project brings a secret that is ignored (git: %s)', async (hasGit) => {
  using it = project();
  const secrets = ['.env', 'a.p8', 'keys/b.p12', 'credentials.json'];
  it.tree.write({
    ...{ 'package.json': '', '.gitignore': '.env*\n*.p8\nkeys/\ncredentials.json\ngoogle-services.json\n' },
    ...{ 'google-services.json': '{}', 'keys/names.txt': '', '.env.example': '' },
    ...Object.fromEntries(secrets.map((path) => [path, '{}'])),
  });
  if (hasGit) it.tree.committed();
  const brought = ['.env.example', 'google-services.json', 'keys/names.txt'];
  const notSent = secrets.toSorted();
  const includeOfProject = ['.env*', '*.p8', 'keys', '*.json'];
  const check = async (options: Partial<ListOptions>, sealed: string[]) => {
    const source = await listed(it.tree, options);
    expect(pathsOf(source)).toEqual(expect.arrayContaining(brought));
    expect(pathsOf(source).filter((path) => secrets.includes(path))).toEqual([]);
    expect(leftOutOf(source)).toMatchObject(Object.fromEntries(secrets.map((path) => [path, 'secret'])));
    const found = await findSecretFiles(source, [], it.path);
    expect(found.sent.map(({ path }) => path)).toEqual(sealed);
    expect(found.notSent).toEqual(notSent.filter((path) => !sealed.includes(path)));
  };
  await check({ includeOfProject }, ['credentials.json']);
  it.tree.write({ '.easignore': '' });
  await check({}, ['credentials.json']);
  await check({ includeOfProject }, ['credentials.json']);
  const typed = await listed(it.tree, { includeOfProject, include: includeOfProject });
  expect(pathsOf(typed)).toEqual(expect.arrayContaining(secrets));
  expect(Object.values(leftOutOf(typed))).not.toContain('secret');
});

test('a folder of no app and links to what does not go along are shown', async () => {
  using it = project();
  it.tree
    .write({ '.gitignore': '.env\ngen/\n', '.env': '', 'gen/a.js': '', 'b/c.js': '', 'app/eas.json': '{}' })
    .link('app/env', '../.env')
    .link('app/gen', '../gen')
    .link('app/b', '../b')
    .link('app/tool', '../node_modules/tool')
    .committed();
  const shown = (source: Source, sealed: string[] = []) =>
    warningsOf(source, sealed).map(({ code, path }) => `${code}: ${path}`);
  const atRoot = await listed(it.tree);
  expect(shown(atRoot)).toEqual(['no_app: .', 'link_to_nothing: app/env', 'link_to_nothing: app/gen']);
  const inApp = await listed(it.tree, { appDir: join(it.path, 'app') });
  expect(shown(inApp, ['.env'])).toEqual(['link_to_nothing: app/gen']);
});

test('tracked signing files, names that a Mac takes for one, and large folders are shown', async () => {
  using it = project();
  it.tree.write({ 'ios/dist.P12': '', 'credentials.json': '{}', '.env.production': '', 'google-services.json': '{}' });
  it.tree.write({ 'package.json': '', 'A.js': '', 'a.js': '', 'u\u0308.js': '', 'ü.js': '' }).committed();
  const source = await listed(it.tree);
  const shown = warningsOf(source).map(({ code, path }) => `${code}: ${path}`);
  expect(shown).toEqual([
    'names_differ_in_case: a.js',
    'signing_file_tracked: credentials.json',
    'signing_file_tracked: ios/dist.P12',
    'names_differ_in_case: ü.js',
  ]);
  expect(largeFoldersOf(source)).toEqual([]);
  const sized = (path: string, megabytes: number) => ({ ...source.files[0]!, path, sizeBytes: megabytes * 1e6 });
  const large = {
    ...source,
    files: [sized('a/b/c/d', 90), sized('a/x', 1), sized('e/f', 5), sized('e/g/h', 6), sized('i', 9)],
  };
  expect(largeFoldersOf(large)).toEqual([
    { path: 'a/b/c', sizeBytes: 90e6 },
    { path: 'e', sizeBytes: 11e6 },
  ]);
});
