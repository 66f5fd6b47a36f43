/**
 * Shows bytes as a terminal does, as far as `expo-build` moves the cursor: return, line break, cursor up,
 * erase below. Keeps any other order than a colour for the test to see.
 *
 * It wraps long lines, and wraps them anew when its width changes, as most terminals do.
 */
import { widthOf } from '../../../cli/words.ts';

const ESC = '\x1b';
const TOKENS = new RegExp(String.raw`${ESC}\[[0-?]*[ -/]*[@-~]|${ESC}.?|\P{Cc}|\p{Cc}`, 'gsu');
/** An order whose end has not come yet. */
const BEGUN = new RegExp(String.raw`${ESC}(\[[0-?]*[ -/]*)?$`);
const UP = new RegExp(String.raw`^${ESC}\[(\d*)A$`);
const COLOUR = new RegExp(String.raw`^${ESC}\[[0-9;:]*m$`);
const WIDE_REST = '';

export class Screen {
  #columns: number;
  /** Cells of each line between two line breaks. A wide character has a second cell without text. */
  #lines: string[][] = [[]];
  #line = 0;
  #at = 0;
  #begun = '';
  readonly orders: string[] = [];

  constructor(columns: number) {
    this.#columns = columns;
  }

  resize(columns: number): void {
    this.#columns = columns;
  }

  /** All lines from the first one on, without spaces at their ends. */
  lines(): string[] {
    return this.#lines.map((cells) => cells.join('').trimEnd());
  }

  write(text: string): void {
    const all = this.#begun + text;
    this.#begun = BEGUN.exec(all)?.[0] ?? '';
    for (const [token] of all.slice(0, all.length - this.#begun.length).matchAll(TOKENS)) this.#take(token);
  }

  #take(token: string): void {
    const up = UP.exec(token);
    if (up) for (let left = Number(up[1] || 1); left > 0; left--) this.#up();
    else if (token === '\x1b[J') this.#eraseBelow();
    else if (token === '\r') this.#at = this.#rowStart();
    else if (token === '\n') this.#nextLine();
    else if (COLOUR.test(token)) return;
    else if (/^\p{Cc}/u.test(token) && token !== '\t') this.orders.push(token);
    else this.#put(token);
  }

  #rowStart = () => Math.floor(Math.max(0, this.#at - (this.#isPending() ? 1 : 0)) / this.#columns) * this.#columns;
  /** The cursor waits behind the last column, and wraps only with the next character. */
  #isPending = () => this.#at > 0 && this.#at % this.#columns === 0 && this.#at >= this.#lines[this.#line]!.length;

  #put(character: string): void {
    const cells = this.#lines[this.#line]!;
    const width = Math.max(1, widthOf(character));
    if (width === 2 && this.#at % this.#columns === this.#columns - 1) cells[this.#at++] = WIDE_REST;
    cells[this.#at++] = character;
    if (width === 2) cells[this.#at++] = WIDE_REST;
  }

  #up(): void {
    const column = this.#at - this.#rowStart();
    if (this.#rowStart() > 0) {
      this.#at -= this.#columns;
      return;
    }
    if (this.#line === 0) return;
    this.#line--;
    const rows = Math.max(1, Math.ceil(this.#lines[this.#line]!.length / this.#columns));
    this.#at = (rows - 1) * this.#columns + column;
  }

  #eraseBelow(): void {
    this.#lines[this.#line]!.length = Math.min(this.#at, this.#lines[this.#line]!.length);
    this.#lines.length = this.#line + 1;
  }

  #nextLine(): void {
    this.#line++;
    this.#at = 0;
    this.#lines[this.#line] ??= [];
  }
}
