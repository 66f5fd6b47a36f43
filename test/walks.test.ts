/** Holds the walks and the table of tasks in CONTRIBUTING.md against the code. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
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

test.for(walks)('$title: each file has the function, and the file before it imports it', ({ stops }) => {
  expect(stops.length).toBeGreaterThan(4);
  for (const [index, { file, name, crosses }] of stops.entries()) {
    const code = readFileSync(join(ROOT, file), 'utf8');
    expect(code, `${file} has ${name}`).toMatch(new RegExp(`\\b${name}\\b`));
    const before = stops[index - 1];
    if (!before || crosses || before.file === file) continue;
    const imported = `/${file.split('/').at(-1)}'`;
    const importers = stops.slice(0, index).map((stop) => readFileSync(join(ROOT, stop.file), 'utf8'));
    expect(
      importers.some((one) => one.includes(imported)),
      `a file before ${file} imports it`,
    ).toBe(true);
  }
});
