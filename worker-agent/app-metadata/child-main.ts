/**
 * Is the child process that reads one artifact. Its standard input is the file, and its argument is the kind.
 * It prints its findings on standard output as one line of JSON.
 *
 * Invariant: it opens no other file, starts nothing, and has no variables. The agent (app-child.ts) enforces
 * that, and limits its time and memory.
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
