/**
 * Tells a person, or a program under `--json`, how far a source is. Text for people is written to standard
 * error.
 */
import { printableLines } from '../../client/printable.ts';
import { type JsonLine, printJson } from '../json-lines/json-lines.ts';

const REDRAWN_EVERY_MS = 100;

export class Report {
  readonly #json: boolean;
  #isOpen = false;
  #drawnAt = 0;
  #isAway = false;

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Says once that the controller is away, until it is back. */
  readonly away = (why: string): void => {
    if (this.#isAway) return;
    const message = `The controller is not reached (${why}). Waiting for it.`;
    this.say(message);
    this.line({ type: 'connection', reached: false, message });
    this.#isAway = true;
  };

  /** Called when the controller has answered. */
  reached(): void {
    if (this.#isAway) this.line({ type: 'connection', reached: true, message: 'The controller is reached again.' });
    this.#isAway = false;
  }

  say(text: string): void {
    this.#close();
    process.stderr.write(`${printableLines(text)}\n`);
  }

  /** Under `--json` alone. */
  line(line: JsonLine): void {
    if (this.#json) printJson(line);
  }

  /** A line that the next one replaces. Only a terminal has it. */
  progress(text: string): void {
    const now = performance.now();
    if (!process.stderr.isTTY || now - this.#drawnAt < REDRAWN_EVERY_MS) return;
    this.#drawnAt = now;
    this.#isOpen = true;
    process.stderr.write(`\r\x1b[K${text.slice(0, process.stderr.columns - 1)}`);
  }

  #close(): void {
    if (this.#isOpen) process.stderr.write('\r\x1b[K');
    this.#isOpen = false;
  }
}
