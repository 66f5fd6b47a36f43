/**
 * Is the child process that reads one artifact: the file is its standard input, the kind its argument, and
 * what it finds goes to standard output as one line of JSON.
 *
 * Invariant: it opens no other file, starts nothing, and has no variables. The agent (app-child.ts) sees to
 * that, and to its time and memory.
 */
import { createReadStream } from 'node:fs';
import { Budget, Unreadable } from './budget.ts';
import { openFile } from './open-file.ts';
import { readApp } from './read-app.ts';
import type { AppKind } from './said.ts';

const INPUT = 0;

async function answer(): Promise<object> {
  try {
    const budget = new Budget();
    const stream = () => createReadStream('', { fd: INPUT, start: 0 }) as AsyncIterable<Buffer>;
    const said = await readApp(process.argv[2] as AppKind, { file: openFile(INPUT, budget), stream }, budget);
    return { said: said && { ...said, icon: said.icon?.toString('base64') ?? null } };
  } catch (error) {
    return { problem: error instanceof Unreadable ? error.message : 'it is damaged' };
  }
}

process.stdout.write(JSON.stringify(await answer()));
