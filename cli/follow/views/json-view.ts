/** Shows builds as lines of JSON, for programs. */
import { printJson } from '../../json-lines/json-lines.ts';
import type { FollowEvent, View } from './events.ts';
import { type LogLine, LogLines } from './log-lines.ts';
import { buildIdOf } from './names.ts';
import { whenWritable } from './output.ts';

export class JsonView implements View {
  readonly #logs = new LogLines();

  show(event: FollowEvent): void {
    if (event.type === 'log') {
      this.#lines(this.#logs.push(event));
      return;
    }
    if (event.type === 'transfer') return;
    // The progress of the attempt changes all the time, and does not mean that the line has ended.
    if (event.type !== 'progress') this.#lines(this.#logs.end(buildIdOf(event)));
    printJson(event);
  }

  ready(signal: AbortSignal): Promise<void> {
    return whenWritable(process.stdout, signal);
  }

  [Symbol.dispose](): void {
    this.#lines(this.#logs.end());
  }

  #lines(lines: LogLine[]): void {
    for (const line of lines) printJson({ type: 'log', ...line });
  }
}
