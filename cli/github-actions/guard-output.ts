/**
 * Keeps the runner of GitHub Actions from obeying the output of this process. File names, messages of builds
 * and logs come from other people.
 *
 * Invariant: the runner obeys the lines of `writeCommands` and no others. All other text is printed
 * unchanged, except for one space in each text that would be a command.
 */
import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';

interface Guard {
  disarm: Disarm;
  /** Writes to the stream without the guard. */
  write: (text: string) => unknown;
}

const guards = new WeakMap<object, Guard>();

export function guardOutput(): void {
  if (process.env.GITHUB_ACTIONS !== 'true') return;
  for (const stream of [process.stdout, process.stderr]) if (!isFile(stream.fd)) guard(stream);
}

/**
 * Writes lines of `workflowCommand`. Use one stream for all, because the runner may read two out of order.
 */
export function writeCommands(output: Writable, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const text = lines.map((line) => `${line}\n`).join('');
  const guarded = guards.get(output);
  if (guarded) guarded.write(`${guarded.disarm.newLine()}${text}`);
  else output.write(text);
}

/** The runner does not see output that a workflow redirects into a file. */
function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

export function guard(stream: Writable): void {
  const write = stream.write.bind(stream) as (chunk: string | Uint8Array, ...rest: unknown[]) => boolean;
  const disarm = new Disarm();
  guards.set(stream, { disarm, write });
  stream.write = ((chunk: string | Uint8Array, ...rest: unknown[]) => {
    if (typeof chunk === 'string') return write(disarm.push(chunk), ...rest);
    // In latin1 each byte is one character, so a UTF-8 character that two chunks share stays intact.
    return write(Buffer.from(disarm.push(Buffer.from(chunk).toString('latin1')), 'latin1'), ...rest);
  }) as typeof stream.write;
}

/**
 * Takes a text in pieces. It puts a space into `::` at the beginning of a line and into `##[` anywhere, which
 * are the two forms of a command. The runner cuts off spaces of all kinds before `::`, so every character
 * outside of ASCII counts as one.
 */
export class Disarm {
  #last = '\n';
  #beforeLast = '';
  #onlySpaces = true;
  #isAfterFirstColon = false;

  push(piece: string): string {
    let out = '';
    for (const character of piece) {
      if (this.#needsSpace(character)) out += ' ';
      out += character;
      this.#beforeLast = this.#last;
      this.#last = character;
    }
    return out;
  }

  /** The line break that ends an open line, or an empty text. */
  newLine(): string {
    return this.#last === '\n' ? '' : this.push('\n');
  }

  #needsSpace(character: string): boolean {
    if (character === '[') {
      this.#onlySpaces = false;
      return this.#last === '#' && this.#beforeLast === '#';
    }
    if (character === '\n' || character === '\r') {
      this.#onlySpaces = true;
      this.#isAfterFirstColon = false;
      return false;
    }
    if (!this.#onlySpaces) return false;
    const isSecondColon = character === ':' && this.#isAfterFirstColon;
    this.#isAfterFirstColon = character === ':';
    this.#onlySpaces = !isSecondColon && (character === ':' || !/[!-~]/.test(character));
    return isSecondColon;
  }
}
