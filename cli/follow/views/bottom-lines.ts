/**
 * Keeps a few lines at the bottom of a terminal, below the printed lines.
 *
 * Invariant: the cursor stands behind the last of these lines, and none is as wide as the terminal, so none
 * is wrapped. Printed lines are never overwritten, also when the terminal gets narrower.
 */
import type { Output } from './output.ts';

/** While somebody drags the edge of the window, there is a new size many times a second. */
const RESIZED_MS = 100;
const COLUMNS_UNKNOWN = 80;
const ROWS_UNKNOWN = 24;

interface BottomLinesOptions {
  terminal: Output;
  /** The lines as they are now, each at most this wide. */
  lines: (columns: number) => string[];
  widthOf: (line: string) => number;
}

export class BottomLines implements Disposable {
  readonly #options: BottomLinesOptions;
  #drawn: string[] = [];
  #resized: NodeJS.Timeout | null = null;

  constructor(options: BottomLinesOptions) {
    this.#options = options;
    options.terminal.on('resize', this.#onResize);
  }

  /** Prints whole lines above, and draws the bottom anew. */
  print(lines: readonly string[] = []): void {
    const { terminal } = this.#options;
    const columns = (terminal.columns || COLUMNS_UNKNOWN) - 1;
    const rows = Math.max(1, (terminal.rows || ROWS_UNKNOWN) - 1);
    const bottom = this.#options.lines(columns).slice(-rows);
    if (lines.length === 0 && bottom.join('\n') === this.#drawn.join('\n')) return;
    terminal.write(`${this.#erase()}${lines.map((line) => `${line}\n`).join('')}${bottom.join('\n')}`);
    this.#drawn = bottom;
  }

  [Symbol.dispose](): void {
    this.#options.terminal.off('resize', this.#onResize);
    if (this.#resized) clearTimeout(this.#resized);
    this.#options.terminal.write(this.#erase());
    this.#drawn = [];
  }

  #erase(): string {
    const { terminal, widthOf } = this.#options;
    if (this.#drawn.length === 0) return '';
    // Most terminals wrap a line that became too long, and some cut it. So we cannot know where the lines
    // begin, and leave them as they are.
    const columns = terminal.columns || COLUMNS_UNKNOWN;
    if (this.#drawn.some((line) => widthOf(line) > columns)) return '\n';
    const up = this.#drawn.length - 1;
    return `\r${up > 0 ? `\x1b[${up}A` : ''}\x1b[J`;
  }

  readonly #onResize = (): void => {
    if (this.#resized) clearTimeout(this.#resized);
    this.#resized = setTimeout(() => this.print(), RESIZED_MS);
  };
}
