/**
 * Shows builds without a terminal: the log as plain text, and our own sentences marked as ours. With several
 * builds, each line says which build it belongs to.
 */
import type { FollowEvent, View } from './events.ts';
import { type LogLine, LogLines } from './log-lines.ts';
import { buildIdOf, Names } from './names.ts';
import { Narrator } from './narrator.ts';
import { type Output, whenWritable } from './output.ts';
import { PlainText } from './plain-text.ts';

export class PlainView implements View {
  protected readonly output: Output;
  readonly #names: Names;
  readonly #narrator = new Narrator();
  readonly #logs = new LogLines(() => {
    const plain = new PlainText();
    return (text) => plain.push(text);
  });

  constructor(output: Output, buildIds: readonly string[]) {
    this.output = output;
    this.#names = new Names(buildIds);
  }

  show(event: FollowEvent): void {
    this.#names.learn(event);
    if (event.type === 'log') {
      this.lines(this.#logs.push(event));
      return;
    }
    const buildId = buildIdOf(event);
    const said = this.#narrator.lines(event);
    if (said.length === 0) return;
    this.endLines(buildId);
    const name = this.#names.of(buildId);
    this.write(said.map((line) => `expo-build${name ? ` (${name})` : ''}: ${line}`));
  }

  ready(signal: AbortSignal): Promise<void> {
    return whenWritable(this.output, signal);
  }

  [Symbol.dispose](): void {
    this.endLines(null);
  }

  /** Shows the unfinished line of the build, or of all builds. */
  protected endLines(buildId: string | null): void {
    this.lines(this.#logs.end(buildId));
  }

  /** Shows lines of logs. */
  protected lines(lines: LogLine[]): void {
    this.write(
      lines.map(({ buildId, text }) => {
        const name = this.#names.of(buildId);
        return name ? `${name} | ${text}` : text;
      }),
    );
  }

  protected write(lines: string[]): void {
    if (lines.length > 0) this.output.write(lines.map((line) => `${line}\n`).join(''));
  }
}
