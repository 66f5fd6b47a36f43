/**
 * Holds README, docs and every message against vm-image/installation, the table of the commands that install
 * or set up something on a Mac.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commandOf, INSTALLATION, inWords } from '../worker-agent/mac/installation.ts';

const root = new URL('..', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, root), 'utf8');
const TABLE = 'vm-image/installation';

/**
 * The beginnings of commands that belong into the table. Such a command ends at the end of its line, at a
 * quotation mark or backtick, at the next command, or at a comment.
 */
const COMMAND =
  /(?<![\w-])(?:brew (?:install|upgrade|reinstall|trust|tap|untap|uninstall|link|unlink|update|pin)|npm (?:install|i|add) (?:-g|--global)|(?:sudo )?pmset -\w|(?:sudo )?defaults write|(?:sudo )?chmod u\+s|tart prune|cirruslabs\/cli\/)(?![\w-])/g;
const END = /[`"]|\s+#\s|\s*(?:&&|;|\|(?!\|))|['"]?[,)]?$|'$|\\n/m;

const { name: PACKAGE, version: VERSION } = JSON.parse(read('package.json'));

/** Every command of that kind in a text, as somebody would type it. */
const commandsIn = (text: string): string[] =>
  [...text.matchAll(COMMAND)].map(({ index }) => text.slice(index).split(END)[0]!.trim().replace('VERSION', VERSION));

/** The commands of the table, each cut where a shell or a quotation may end it. */
const KNOWN = [...INSTALLATION.values()].flatMap((command) => commandsIn(command));
/** These commands break a Mac on purpose, to show how it is repaired. */
const BREAKING = ['brew reinstall openai/tools/softnet', 'sudo pmset -a sleep 10'];

const files = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((name) => name && !/^(test\/|bench\/|migrations\/|local\/sample-project\/|package-lock)/.test(name));
const DOCUMENTS = files.filter((name) => name.endsWith('.md'));
/** Without Tart's simulator and the steps of provisioning, which run such commands and advise none. */
const CODE = files.filter(
  (name) =>
    /\.(ts|sh|hcl|rb)$|^vm-image\/[^.]*$/.test(name) &&
    !/^(vm-image\/(provision\/|installation$)|worker-agent\/tart-simulator\/)/.test(name),
);

const strangers = (names: string[]) =>
  names.flatMap((name) =>
    commandsIn(read(name))
      .filter((command) => !KNOWN.includes(command))
      .map((command) => `${name}: ${command}`),
  );

test('each line of the table is a name of its own and a command', () => {
  const lines = read(TABLE)
    .split('\n')
    .filter((line) => line && !line.startsWith('#'));
  for (const line of lines) expect(line).toMatch(/^[a-z][a-z-]*\t\S[^\t]*\S$/);
  expect(INSTALLATION.size).toBe(lines.length);
  expect(() => commandOf('no-such')).toThrow('has no command no-such');
  expect(inWords('trust-tap', 'add-tap', 'tart')).toBe(
    '`brew trust openai/tools`, `brew tap openai/tools` and `brew install openai/tools/tart`',
  );
});

test('a command of README or docs is one of the table', () => {
  expect(DOCUMENTS).toEqual(expect.arrayContaining(['README.md', 'docs/first-build.md', 'docs/doctor.md']));
  expect(strangers(DOCUMENTS)).toEqual(BREAKING.map((command) => `docs/unproven.md: ${command}`));
});

test('a command that a message names is one of the table', () => {
  expect(CODE).toEqual(
    expect.arrayContaining([
      'vm-image/create-base-image.sh',
      'vm-image/keychain',
      'worker-agent/health-checks/macos-checks.ts',
    ]),
  );
  expect(strangers(CODE)).toEqual([]);
});

test('both of these tests see a stranger, whatever stands around it', () => {
  expect(commandsIn("fix: 'Run `brew upgrade tart`, or not.'")).toEqual(['brew upgrade tart']);
  expect(commandsIn('    brew install cirruslabs/cli/tart node@24   # both')).toContain(
    'brew install cirruslabs/cli/tart node@24',
  );
  expect(commandsIn("die 69 'curl is missing: brew install curl'")).toEqual(['brew install curl']);
  expect(commandsIn('brew update && sudo pmset -a sleep 1')).toEqual(['brew update', 'sudo pmset -a sleep 1']);
  expect(commandsIn('`tart prune` empties it')).toEqual(['tart prune']);
  expect(KNOWN).toContain('tart prune --older-than 7');
  expect(KNOWN).not.toContain('tart prune');
});

test('every command of the table is named somewhere', () => {
  const documents = DOCUMENTS.map(read).join('\n');
  const code = CODE.map(read).join('\n');
  const unused = [...INSTALLATION].filter(
    ([name, command]) => !documents.includes(command) && !code.includes(command) && !code.includes(`'${name}'`),
  );
  expect(unused).toEqual([]);
});

test('the agent is installed from the file that `npm pack` makes of this version', () => {
  expect(commandOf('agent')).toBe(`npm install -g ./${PACKAGE}-${VERSION}.tgz`);
});
