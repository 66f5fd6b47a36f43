/** Makes projects of all shapes on the disk, for tests of packing. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

export class Tree {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
  }

  write(files: Record<string, string>): this {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.path, path)), { recursive: true });
      writeFileSync(join(this.path, path), text);
    }
    return this;
  }

  link(path: string, target: string): this {
    mkdirSync(dirname(join(this.path, path)), { recursive: true });
    symlinkSync(target, join(this.path, path));
    return this;
  }

  executable(path: string): this {
    chmodSync(join(this.path, path), 0o755);
    return this;
  }

  remove(path: string): this {
    rmSync(join(this.path, path), { recursive: true });
    return this;
  }

  git(...args: string[]): this {
    execFileSync('git', [...AS_SOMEBODY, ...args], { cwd: this.path, stdio: 'pipe' });
    return this;
  }

  /** A repository in which everything so far is committed. */
  committed(): this {
    return this.git('init', '-q').git('add', '.').git('commit', '-qm', 'first', '--allow-empty');
  }

  submodule(path: string, files: Record<string, string>): this {
    const origin = new Tree(`${this.path}.${path.replaceAll('/', '-')}`).write(files).committed();
    return this.git('submodule', 'add', '-q', origin.path, path);
  }
}

const AS_SOMEBODY = [
  ...['-c', 'user.name=Somebody', '-c', 'user.email=somebody@example.com'],
  ...['-c', 'protocol.file.allow=always', '-c', 'init.defaultBranch=main'],
];

/** A new, empty project, which is deleted at the end of the test. */
export function project(): { dir: string; tree: Tree; path: string } & Disposable {
  const dir = temporaryDir();
  const tree = new Tree(join(dir.path, 'project'));
  return { dir: dir.path, tree, path: tree.path, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

const APP = { 'package.json': '{}', 'eas.json': '{"build":{"production":{}}}', 'src/index.js': 'app' };

/** Projects that eas-cli and Tartbeat both pack. */
export const TREES: Record<string, (tree: Tree) => Tree> = {
  'a plain app': (tree) => tree.write(APP).committed(),
  'no commit yet': (tree) => tree.write(APP).git('init', '-q').write({ 'new.js': 'new' }),
  'changed, new and deleted files': (tree) =>
    tree
      .write({ ...APP, 'gone.js': 'gone', 'old.js': 'old' })
      .committed()
      .write({ 'old.js': 'new', 'added.js': 'added' })
      .remove('gone.js'),
  'staged and renamed files': (tree) =>
    tree
      .write({ ...APP, 'a.js': 'a' })
      .committed()
      .git('mv', 'a.js', 'b.js')
      .write({ 'c.js': 'c' })
      .git('add', 'c.js'),
  'ignored files': (tree) =>
    tree
      .write({ ...APP, '.gitignore': '*.log\n/build/\n.env*\n', 'a.log': '', 'build/x': '', '.env': 'A=1' })
      .committed(),
  'nested rules': (tree) =>
    tree
      .write({ ...APP, '.gitignore': '*.log\n', 'a/.gitignore': 'tmp/\n*.txt\n', 'a/tmp/x': '', 'a/b/c.txt': '' })
      .write({ 'a/keep.js': '', 'c.txt': 'kept', 'a/b/d.log': '' })
      .committed(),
  'a nested rule that keeps what the outer one ignores': (tree) =>
    tree
      .write({ ...APP, '.gitignore': '*.log\n', 'a/.gitignore': '!keep.log\n', 'a/keep.log': '', 'b.log': '' })
      .committed(),
  'a rule that keeps one of many': (tree) =>
    tree
      .write({ ...APP, '.gitignore': 'config/*\n!config/app.json\n', 'config/app.json': '', 'config/b.json': '' })
      .committed(),
  'a tracked file that a rule ignores': (tree) =>
    tree
      .write({ ...APP, 'ios/Podfile': 'pods', '.gitignore': '/ios\n' })
      .git('init', '-q')
      .git('add', '-f', '.'),
  'info/exclude and the global rules': (tree) =>
    tree
      .write(APP)
      .committed()
      .write({ '.git/info/exclude': 'mine.txt\n', 'mine.txt': '', 'x.globally-ignored': '', 'seen.txt': '' }),
  'an .easignore': (tree) =>
    tree
      .write({ ...APP, '.gitignore': 'secret.json\n', 'secret.json': '{}', 'docs/a.md': '', '.easignore': 'docs/\n' })
      .committed(),
  'an .easignore that brings secrets': (tree) =>
    tree
      .write({ ...APP, '.gitignore': '.env*\n*.p8\ngen/\n', '.env.local': 'A=1', 'keys/a.p8': '', 'gen/a.js': '' })
      .write({ '.easignore': 'docs/\n' })
      .committed(),
  'an .easignore that keeps one of many': (tree) =>
    tree
      .write({
        ...APP,
        '.gitignore': 'gen/\n',
        'gen/a': 'a',
        'gen/b': 'b',
        '.easignore': 'gen/*\n!gen/a\n*.md\n!README.md\n',
      })
      .write({ 'README.md': '', 'NOTES.md': '' })
      .committed(),
  'an .easignore that is empty': (tree) =>
    tree.write({ ...APP, '.gitignore': 'gen/\n*.log\n', 'gen/a': 'a', 'b.log': '', '.easignore': '' }).committed(),
  'node_modules everywhere': (tree) =>
    tree
      .write({ ...APP, '.gitignore': 'node_modules\n', 'node_modules/a/index.js': '', 'packages/b/node_modules/c': '' })
      .committed(),
  'tracked node_modules': (tree) => tree.write({ ...APP, 'node_modules/a/index.js': '' }).committed(),
  submodules: (tree) =>
    tree
      .write(APP)
      .committed()
      .submodule('native/lib', { 'lib.c': 'c', '.gitignore': '*.o\n' })
      .write({ 'native/lib/new.c': '', 'native/lib/a.o': '' }),
  'a repository in the repository': (tree) => {
    tree.write({ ...APP, '.gitignore': 'ignored/\n' }).committed();
    new Tree(join(tree.path, 'inner')).write({ 'a.txt': 'a' }).committed();
    new Tree(join(tree.path, 'ignored')).write({ 'b.txt': 'b' }).committed();
    return tree;
  },
  'symbolic links': (tree) =>
    tree
      .write({ ...APP, 'shared/a.js': 'a', 'apps/one/.keep': '' })
      .link('apps/one/shared', '../../shared')
      .link('link.js', 'src/index.js')
      .link('dangling', 'nowhere/at/all')
      .committed(),
  'odd names': (tree) =>
    tree
      .write({ ...APP, 'a b/c  d.txt': '', '-rf': '', 'quo"te\'s': '', 'back\\slash': '', 'émoji 🎉/ü.txt': '' })
      .write({
        '[id].js': '',
        '(tabs)/_layout.js': '',
        '#hash!.js': '',
        [`${'deep/'.repeat(30)}long-${'x'.repeat(120)}.js`]: '',
      })
      .committed(),
  'executable, empty and binary files': (tree) =>
    tree
      .write({ ...APP, gradlew: '#!/bin/sh\n', empty: '', 'bytes.bin': '\0\u0001\0' })
      .executable('gradlew')
      .committed(),
  'a monorepo': (tree) =>
    tree
      .write({
        'package.json': '{}',
        '.gitignore': 'node_modules\ndist\n',
        'packages/ui/index.js': '',
        'packages/ui/dist/x': '',
      })
      .write({
        'apps/mobile/eas.json': '{}',
        'apps/mobile/.gitignore': '/ios\n',
        'apps/mobile/ios/Podfile': '',
        'apps/ios': '',
      })
      .committed(),
};
