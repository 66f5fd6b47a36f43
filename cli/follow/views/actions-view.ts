/**
 * Shows builds in the log of a GitHub Actions job: as PlainView does, but with one group for each phase of a
 * build.
 *
 * Invariant: all text stands between `::stop-commands::` with a new random word and its end, so the runner
 * obeys nothing that a build prints. Our own sentences stand there too, because they may quote a build.
 */
import { randomUUID } from 'node:crypto';
import { factsOf } from '../../../log-reader/phases.ts';
import { createReading, type Reading } from '../../../log-reader/progress/reading.ts';
import { writeCommands } from '../../github-actions/guard-output.ts';
import { workflowCommand } from '../../github-actions/workflow-commands.ts';
import type { FollowEvent } from './events.ts';
import type { LogLine } from './log-lines.ts';
import type { Output } from './output.ts';
import { PlainView } from './plain-view.ts';

export class ActionsView extends PlainView {
  /** The groups of several builds would overlap, so there are groups only for a single build. */
  readonly #groups: boolean;
  #begin = (): Reading => createReading({ history: null, platform: 'ios', command: '' });
  #reading = this.#begin();
  #attempt = 0;
  #group: string | null = null;
  #word: string | null = null;

  constructor(output: Output, buildIds: readonly string[]) {
    super(output, buildIds);
    this.#groups = buildIds.length === 1;
  }

  override show(event: FollowEvent): void {
    if (event.type === 'build') {
      const { id, platform, command, endedAt } = event.build;
      this.#begin = () => createReading({ history: null, platform, command: command ?? '' });
      // The verdict must be visible without opening a group.
      if (endedAt !== null) {
        this.endLines(id);
        this.#openGroup(null);
      }
    }
    super.show(event);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#openGroup(null);
    if (this.#word !== null) writeCommands(this.output, [workflowCommand(this.#word, '')]);
  }

  protected override lines(lines: LogLine[]): void {
    for (const line of lines) {
      if (this.#groups) this.#read(line);
      super.lines([line]);
    }
  }

  protected override write(lines: string[]): void {
    if (lines.length > 0) this.#stop();
    super.write(lines);
  }

  #read({ text, attempt }: LogLine): void {
    if (attempt !== this.#attempt) this.#reading = this.#begin();
    this.#attempt = attempt;
    this.#reading.read(text, 0);
    this.#openGroup(factsOf(this.#reading.log.current.id).label);
  }

  #openGroup(label: string | null): void {
    if (label === this.#group) return;
    const commands = [
      ...(this.#word === null ? [] : [workflowCommand(this.#word, '')]),
      ...(this.#group === null ? [] : [workflowCommand('endgroup', '')]),
      ...(label === null ? [] : [workflowCommand('group', label)]),
    ];
    this.#group = label;
    this.#word = null;
    writeCommands(this.output, commands);
    if (label !== null) this.#stop();
  }

  /** Makes the runner ignore all commands from here on. */
  #stop(): void {
    if (this.#word !== null) return;
    this.#word = randomUUID();
    writeCommands(this.output, [workflowCommand('stop-commands', this.#word)]);
  }
}
