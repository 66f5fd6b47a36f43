/**
 * Holds the terminal of the person while a shell of a VM uses it.
 *
 * Invariant: the terminal has its former state after this is disposed of, and after any end of the process
 * that Node can see. Each key goes to the shell, including Ctrl-C and Ctrl-D.
 */
import { RESET_COLOURS, TerminalFilter } from '../../client/terminal-filter.ts';

export interface OwnTerminal extends Disposable {
  /** Null if no person uses it. */
  readonly size: { columns: number; rows: number } | null;
  /** Prints the parts of a VM's output that a terminal may get. */
  write(bytes: Uint8Array): void;
  /** Prints our own words below the output of the shell. */
  say(words: string): void;
  /** Calls back with each new size. */
  onResize(listener: () => void): void;
}

const SIZE_UNKNOWN = { columns: 80, rows: 24 };

export function ownTerminal(): OwnTerminal {
  const { stdin, stdout, stderr } = process;
  const isTerminal = stdin.isTTY === true;
  const filter = new TerminalFilter();
  const listeners: (() => void)[] = [];
  if (isTerminal) stdin.setRawMode(true);
  return {
    get size() {
      if (!isTerminal) return null;
      return stdout.columns > 0 ? { columns: stdout.columns, rows: stdout.rows } : SIZE_UNKNOWN;
    },
    write: (bytes) => void stdout.write(filter.push(bytes)),
    say: (words) => void stderr.write(isTerminal ? `\r\n${words}\r\n` : `${words}\n`),
    onResize(listener) {
      listeners.push(listener);
      stdout.on('resize', listener);
    },
    [Symbol.dispose]() {
      const left = filter.end();
      stdout.write(stdout.isTTY ? left : left.replace(RESET_COLOURS, ''));
      for (const listener of listeners) stdout.off('resize', listener);
      if (isTerminal) stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
