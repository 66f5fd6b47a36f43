import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { project } from '../client/packing/trees.ts';
import { jsonLinesOf, expoBuild as runExpoBuild } from './factories/expo-build.ts';
import { expoBuildProcess } from './factories/started.ts';

const expoBuild = (cwd: string, ...args: string[]) => runExpoBuild(args, { cwd });

test('`pack --list` shows what goes along by size, what differs from git, and what is not sent', async () => {
  using it = project();
  it.tree
    .write({
      '.gitignore': '.env\n*.log\n',
      'small.js': 'x',
      'large.js': 'x'.repeat(4_200),
      '.env': 'A=1',
      'a.log': '',
      'package.json': '{}',
    })
    .write({ 'dist.p12': 'p12', 'forced.log': '12', 'node_modules/x': '' })
    .committed()
    .git('add', '-f', 'forced.log');
  const { code, stdout, stderr } = await expoBuild(it.path, 'pack', '--list', '--include', 'a.log');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(`     4.2 kB  large.js
       11 B  .gitignore
        3 B  dist.p12
~       2 B  forced.log  (tracked, although a rule ignores it: .gitignore:2 *.log)
        2 B  package.json
        1 B  small.js
+       0 B  a.log  (brought by --include)

Left out:
-            .env  (ignored)
-            node_modules/x  (never goes along)

Not sent. If the build needs one of these, name it:
  --secret-file .env

Look at these:
! dist.p12: Git tracks this file, so everybody who can read the repository has it. Remove it with \`git rm --cached\`, ignore it, and send it with \`--secret-file\`.

7 files, 4.2 kB before compression, from ${it.path}.
Decided by git.
`);
});

test('the flag of a file that is not sent counts from the current folder', async () => {
  using it = project();
  it.tree.write({ '.gitignore': '.env\n', '.env': '', 'apps/one/.env': '', 'apps/one/package.json': '{}' }).committed();
  it.tree.write({ 'od\u001bd\n.js': '' });
  const here = join(it.path, 'apps/one');
  const { stdout } = await expoBuild(here, 'pack', '--list');
  const flags = stdout.match(/--secret-file \S+/g)!.flatMap((flag) => flag.split(' '));
  expect(flags).toEqual(['--secret-file', '../../.env', '--secret-file', '.env']);
  expect(await expoBuild(here, 'pack', '--list', ...flags)).toMatchObject({ code: 0 });
  expect(stdout).toContain('od\\x1bd\\x0a.js'); // not another name
});

test('npm run takes the folder in which the person is, and a machine without git is told so', async () => {
  using it = project();
  it.tree.write({ 'package.json': '{}', '.gitignore': 'x\n', x: '', '.easignore': 'y\n', y: '' }).committed();
  const npm = { npm_lifecycle_event: 'expo-build', INIT_CWD: it.path };
  const adds = await expoBuildProcess(['pack', '--list', '--easignore-adds'], { cwd: PROJECT_ROOT, env: npm });
  expect(adds.stdout).toContain(`3 files, 6 B before compression, from ${it.path}.
Decided by git, and .easignore takes more away.`);
  it.tree.remove('.easignore');
  const { stdout } = await runExpoBuild(['pack', '--list'], { cwd: it.path, env: { PATH: it.dir } });
  expect(stdout).toContain('! .git: Here is a repository, but the program `git` was not found');
  expect(stdout).toContain('Decided by the .gitignore files, because the program `git` was not found.');
});

test('under --json each line of standard output parses, also that of an error', async () => {
  using it = project();
  it.tree.write({ 'app.js': 'x', '.env': '', 'dist.p12': '', '.gitignore': '.env\n', 'od\nd.js': '' }).committed();
  const listed = await expoBuild(it.path, 'pack', '--list', '--json', '--secret-file', '.env');
  expect(listed.stderr).toBe('');
  const types = jsonLinesOf(listed).map(({ type }) => type);
  expect([...new Set(types)]).toEqual(['source', 'file', 'left_out', 'secret_file', 'warning']);
  it.tree.link('out', '/etc/hosts');
  const refused = await expoBuild(it.path, 'pack', '--list', '--json');
  expect(refused.code).toBe(2);
  expect(jsonLinesOf(refused)).toMatchObject([{ type: 'error', exitCode: 2 }]);
  expect(refused.stderr).toMatch(/^expo-build: "out → \/etc\/hosts" is a link that leads out of /);
});

test('a wrong command line ends with 2 and names what is wrong, and help ends with 0', async () => {
  using it = project();
  const lines: [args: string[], code: number, says: string][] = [
    [['pack', '--json'], 2, 'give --list'],
    [['pack', '--lits'], 2, "unknown option '--lits'"],
    [['build', '--profile', 'preview'], 2, 'Run `expo-build submit`.'],
    [['submit', '--no-wait', '--detach'], 2, '--no-wait follows no build, so --detach does nothing.'],
    [['pack', '--help'], 0, ''],
    [['--version'], 0, ''],
  ];
  for (const [args, code, says] of lines) {
    const ended = await expoBuild(it.path, ...args);
    expect(ended.code, args.join(' ')).toBe(code);
    expect(ended.stderr).toContain(says);
  }
  // The program exits with the code of the command.
  for (const [args, code] of [
    [['pack', '--lits'], 2],
    [['--version'], 0],
  ] as const) {
    const here = await expoBuild(it.path, ...args);
    expect(here.code).toBe(code);
    expect(await expoBuildProcess(args, { cwd: it.path })).toEqual(here);
  }
});
