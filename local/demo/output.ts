/**
 * Prints the demo's output. No other module of the demo prints. It only prints lines and never moves the
 * cursor. It uses colours if the terminal supports them; NO_COLOR and pipes turn them off.
 */
import { styleText } from 'node:util';

export type Mark = 'good' | 'bad' | 'warn' | 'plain';

const MARKS: Record<Mark, string> = {
  good: styleText('green', '✓'),
  bad: styleText('red', '✗'),
  warn: styleText('yellow', '!'),
  plain: ' ',
};
const NAME_WIDTH = 16;
const KIND_WIDTH = 10;

export interface Line {
  kind: string;
  text: string;
  durationMs?: number | undefined;
  mark?: Mark;
  /** Printed in grey. */
  dim?: boolean;
}

export class DemoOutput {
  #zeroMs = performance.now();

  title(text: string): void {
    this.#print(`\n${styleText('bold', text)}`);
  }

  note(text: string): void {
    this.#print(`  ${styleText('dim', text)}`);
  }

  /** Prints a part of the farm that has started, or a fact. */
  fact(name: string, text: string, durationMs?: number): void {
    this.#print(`  ${name.padEnd(NAME_WIDTH)} ${text}${durationMs === undefined ? '' : took(durationMs)}`);
  }

  /** The times that `line` prints count from this call. */
  startClock(): void {
    this.#zeroMs = performance.now();
  }

  line({ kind, text, durationMs, mark = 'plain', dim = false }: Line): void {
    const at = `${seconds(performance.now() - this.#zeroMs)} s`.padStart(9);
    const said = printable(text);
    const words = dim
      ? styleText('dim', `${kind.padEnd(KIND_WIDTH)}   ${said}`)
      : `${kind.padEnd(KIND_WIDTH)} ${MARKS[mark]} ${said}`;
    this.#print(`${styleText('dim', at)}  ${words}${durationMs === undefined ? '' : took(durationMs)}`);
  }

  /** Prints one line of the build's own output. */
  log(text: string): void {
    this.line({ kind: 'log', text: `│ ${text.split('\r').filter(Boolean).at(-1) ?? ''}` });
  }

  verdict(good: boolean, text: string): void {
    this.line({
      kind: 'verdict',
      mark: good ? 'good' : 'bad',
      text: styleText(['bold', good ? 'green' : 'red'], text),
    });
  }

  /** Prints a condition, and whether it held. */
  held(good: boolean, text: string): void {
    this.#print(`  ${good ? MARKS.good : MARKS.bad} ${text}`);
  }

  table(rows: readonly (readonly [string, number])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length));
    for (const [name, durationMs] of rows)
      this.#print(`  ${name.padEnd(width)}  ${`${seconds(durationMs)} s`.padStart(9)}`);
  }

  error(text: string): void {
    process.stderr.write(`${styleText('red', 'demo:', { stream: process.stderr })} ${text}\n`);
  }

  #print(text: string): void {
    process.stdout.write(`${text}\n`);
  }
}

export const seconds = (durationMs: number): string => (durationMs / 1_000).toFixed(2);

const took = (durationMs: number) =>
  styleText('dim', `  ${durationMs < 1_000 ? `${durationMs} ms` : `${seconds(durationMs)} s`}`);

/**
 * Removes control characters, so that a build cannot move the terminal's cursor or ring its bell. The colours
 * that styleText adds are kept.
 */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced here
  return text.replace(/[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g, ' ');
}

/** For texts that come from a build or from tart. */
export { printable as plain } from '../../client/printable.ts';
