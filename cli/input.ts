/**
 * Reads answers that a person types, or the text of a pipe.
 *
 * Invariant: no question is written to standard output, and no secret is echoed.
 */
import { isUtf8 } from 'node:buffer';
import { addAbortSignal } from 'node:stream';
import { CommandError } from './command-error.ts';
import { EXIT } from './exit-codes.ts';

export interface Question {
  message: string;
  /** The advice for a place without a person to ask, such as CI. */
  otherwise: string;
  signal: AbortSignal;
}

/** One line. `initial` is taken if the person only presses Enter. */
export const askLine = ({ initial, ...question }: Question & { initial?: string | undefined }): Promise<string> =>
  ask(question, ({ input }, { message }, context) => input({ message, default: initial, required: true }, context));

/** One line that is not shown. */
export const askSecret = (question: Question): Promise<string> =>
  ask(question, ({ password }, { message }, context) => password({ message, mask: false, toggleMask: false }, context));

/** False unless the person says yes. */
export const askYes = (question: Question): Promise<boolean> =>
  ask(question, ({ confirm }, { message }, context) => confirm({ message, default: false }, context));

type Prompts = typeof import('@inquirer/prompts');
type Context = NonNullable<Parameters<Prompts['input']>[1]>;

async function ask<T>(
  question: Question,
  prompt: (prompts: Prompts, question: Question, context: Context) => Promise<T>,
): Promise<T> {
  if (!process.stdin.isTTY)
    throw new CommandError(`Nobody can be asked, because standard input is no terminal. ${question.otherwise}`);
  const prompts = await import('@inquirer/prompts'); // most commands ask nothing, and it takes long to load
  // Ctrl-D closes the prompt, which would wait for ever.
  const left = new AbortController();
  const onKey = (_: unknown, key?: { ctrl?: boolean; name?: string }) => {
    if (key?.ctrl && key.name === 'd') left.abort();
  };
  process.stdin.on('keypress', onKey);
  try {
    const signal = AbortSignal.any([question.signal, left.signal]);
    return await prompt(prompts, question, { output: process.stderr, signal });
  } catch (error) {
    const isStopped = ['ExitPromptError', 'AbortPromptError'].includes((error as Error).name);
    throw isStopped ? new CommandError('stopped', EXIT.detached) : error;
  } finally {
    process.stdin.off('keypress', onKey);
  }
}

interface PipeOptions {
  /** The flag that reads from standard input, for the messages. */
  flag: string;
  maxBytes: number;
  signal: AbortSignal;
}

/** All of standard input. Refuses a terminal, because it would echo what is typed. */
async function readPipe({ flag, maxBytes, signal }: PipeOptions): Promise<Buffer> {
  if (process.stdin.isTTY)
    throw new CommandError(`${flag} reads a pipe or a file, and standard input is a terminal. Leave ${flag} out.`);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of addAbortSignal(signal, process.stdin)) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw new CommandError(`${flag}: standard input has more than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The text of a pipe without the line break that `echo` adds. `otherwise`: what to do with other bytes. */
export async function readPipedLine({ otherwise, ...options }: PipeOptions & { otherwise: string }): Promise<string> {
  const bytes = await readPipe(options);
  if (!isUtf8(bytes)) throw new CommandError(`${options.flag}: standard input is not text in UTF-8. ${otherwise}`);
  return bytes.toString('utf8').replace(/\r?\n$/, '');
}
