/** Holds the walks and the table of tasks in CONTRIBUTING.md against the code. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const text = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');

test('each file of "To change X, open Y" exists, and there are at least twenty tasks', () => {
  const table = /## To change X, open Y\n([\s\S]*?)(\n## |$)/.exec(text)?.[1] ?? '';
  const files = [...table.matchAll(/^\|.*\| (.*) \|$/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([\w./-]+)`/g)].map(([, path]) => path!),
  );
  expect(files.length).toBeGreaterThanOrEqual(20);
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

interface Stop {
  file: string;
  name: string;
  /** True where the walk leaves the process: over HTTP, RPC or SSH. */
  crosses: boolean;
}

const walks = [...text.matchAll(/^### (Heartbeat|Claim|Log byte)\n\n((?:\d+\. .*\n)+)/gm)].map(([, title, list]) => ({
  title: title!,
  stops: [...list!.matchAll(/^\d+\. (⇒ )?`([\w./-]+)` `([\w.-]+)`/gm)].map(
    ([, arrow, file, name]): Stop => ({ file: file!, name: name!, crosses: arrow !== undefined }),
  ),
}));

test('there are the three walks', () => {
  expect(walks.map(({ title }) => title)).toEqual(['Heartbeat', 'Claim', 'Log byte']);
});

/** Whether the code defines this name: as a function, class, constant, method or field, or in sh. */
function defines(code: string, name: string): boolean {
  const declared = `^(export )?(default )?(async )?(abstract )?(function\\*?|class|const|let) ${name}\\b`;
  const member = `^  (static )?(override )?(async )?[#*]?${name}(\\(|<| = )`;
  return new RegExp(`${declared}|${member}|^${name}\\(\\) \\{`, 'm').test(code);
}

test('a definition is seen in each of its forms, and a mention is none', () => {
  const made = [
    'export async function beat(',
    'const beat = ',
    'class beat {',
    '  async #beat(',
    '  beat = (',
    'beat() {',
  ];
  expect(made.filter((code) => !defines(code, 'beat'))).toEqual([]);
  const mentioned = [
    ' * Then beat() is called.',
    '// const beat = 1',
    '    await beat(env);',
    '  heartbeat() {',
    'import { beat }',
  ];
  expect(mentioned.filter((code) => defines(code, 'beat'))).toEqual([]);
});

/** Whether `from` imports `to`. Both are paths from the root. */
const imports = (from: string, to: string) => {
  const specifiers = readFileSync(join(ROOT, from), 'utf8').matchAll(/ from '(\.[^']+)'/g);
  return [...specifiers].some(([, path]) => join(dirname(from), path!) === to);
};

/** Files of the controller may run in several processes, because each of its Durable Objects is one. */
const isOneProcess = (before: string | undefined, file: string) =>
  before?.split('/')[0] === file.split('/')[0] && !file.startsWith('controller/');

test.for(walks)('$title: each file defines the name, and is imported by an earlier one or imports one', ({ stops }) => {
  expect(stops.length).toBeGreaterThan(4);
  const wrong = stops.flatMap(({ file, name, crosses }, index) => {
    const earlier = stops.slice(0, index).map((stop) => stop.file);
    const isReached =
      index === 0 || crosses || earlier.some((one) => one === file || imports(one, file) || imports(file, one));
    return [
      ...(defines(readFileSync(join(ROOT, file), 'utf8'), name) ? [] : [`${file} does not define ${name}`]),
      ...(isReached ? [] : [`nothing joins ${file} to an earlier stop`]),
      ...(crosses && isOneProcess(earlier.at(-1), file) ? [`no step out of a process leads to ${file}`] : []),
    ];
  });
  expect(wrong).toEqual([]);
});
