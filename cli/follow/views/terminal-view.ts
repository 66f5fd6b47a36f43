/**
 * Shows builds on a terminal: their logs as they are printed, and below them one line a build that says how
 * far it is.
 *
 * Invariant: only text, tabs and colours of a log reach the terminal. It writes a piece of a log at once, and
 * the line below changes no line of it.
 */
import { styleText } from 'node:util';
import { TerminalFilter } from '../../../client/terminal-filter.ts';
import { cut, widthOf } from '../../words.ts';
import { BottomLines } from './bottom-lines.ts';
import { ColouredLines, withoutColours } from './coloured-lines.ts';
import type { FollowEvent, View } from './events.ts';
import { type LogLine, LogLines } from './log-lines.ts';
import { buildIdOf, Names } from './names.ts';
import { Narrator } from './narrator.ts';
import { type Output, whenWritable } from './output.ts';
import { NOTHING_KNOWN, type Standing, statusLine } from './status-line.ts';

const REDRAW_MS = 1_000;
/** A bell and a backspace pass the filter, but they are no colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are removed
const NO_COLOURS = /[\x07\b]/g;

interface TerminalViewOptions {
  terminal: Output;
  buildIds: readonly string[];
  /** The controller's time. */
  now: () => number;
  /** False: the logs alone. */
  withStatus: boolean;
}

export class TerminalView implements View {
  readonly #options: TerminalViewOptions;
  readonly #names: Names;
  readonly #narrator = new Narrator();
  readonly #colours = new Map<string, ColouredLines>();
  readonly #standings = new Map<string, Standing>();
  readonly #bottom: BottomLines;
  readonly #timer: NodeJS.Timeout;
  readonly #logs = new LogLines(() => {
    const filter = new TerminalFilter();
    return (text) => filter.pushText(text).replace(NO_COLOURS, '');
  });

  constructor(options: TerminalViewOptions) {
    this.#options = options;
    this.#names = new Names(options.buildIds);
    const lines = (columns: number) => this.#bottomLines(columns);
    this.#bottom = new BottomLines({ terminal: options.terminal, lines, widthOf });
    this.#timer = setInterval(() => this.#bottom.print(), REDRAW_MS);
  }

  show(event: FollowEvent): void {
    this.#names.learn(event);
    this.#learn(event);
    if (event.type === 'log') {
      this.#bottom.print(this.#coloured(this.#logs.push(event)));
      return;
    }
    const buildId = buildIdOf(event);
    const said = this.#options.withStatus ? this.#narrator.lines(event) : [];
    const ended = said.length > 0 ? this.#coloured(this.#logs.end(buildId)) : [];
    const name = this.#names.of(buildId);
    const own = said.map((line) => styleText('bold', `${name === null ? '' : `${name} │ `}${line}`));
    this.#bottom.print([...ended, ...own]);
  }

  ready(signal: AbortSignal): Promise<void> {
    return whenWritable(this.#options.terminal, signal);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#standings.clear();
    this.#bottom.print(this.#coloured(this.#logs.end()));
    this.#bottom[Symbol.dispose]();
  }

  #coloured(lines: LogLine[]): string[] {
    return lines.map(({ buildId, text }) => {
      const name = this.#names.of(buildId);
      return `${name === null ? '' : `${name} │ `}${this.#coloursOf(buildId).line(text)}`;
    });
  }

  #coloursOf(buildId: string): ColouredLines {
    const known = this.#colours.get(buildId);
    if (known) return known;
    const made = new ColouredLines();
    this.#colours.set(buildId, made);
    return made;
  }

  /** Unfinished lines of logs, and the line of each build. */
  #bottomLines(columns: number): string[] {
    const { buildIds, now, withStatus } = this.#options;
    const unfinished = buildIds.flatMap((id) => {
      const rest = withoutColours(this.#logs.restOf(id));
      const name = this.#names.of(id);
      return rest.trim() === '' ? [] : [cut(`${name === null ? '' : `${name} │ `}${rest}`, columns)];
    });
    if (!withStatus) return unfinished;
    const standings = buildIds.flatMap((id) => {
      const standing = this.#standings.get(id);
      const line = standing && statusLine(standing, this.#names.of(id), now(), columns);
      return line ? [styleText('dim', line)] : [];
    });
    return [...unfinished, ...standings];
  }

  #learn(event: FollowEvent): void {
    const buildId = buildIdOf(event);
    const learn = (news: Partial<Standing>) => {
      for (const id of buildId === null ? this.#options.buildIds : [buildId])
        this.#standings.set(id, { ...(this.#standings.get(id) ?? NOTHING_KNOWN), ...news });
    };
    if (event.type === 'build') learn({ build: event.build });
    else if (event.type === 'progress') {
      const { live, waitingFor, queue } = event;
      learn({ live, waitingFor, queue });
    } else if (event.type === 'connection') learn({ isAway: !event.reached });
    else if (event.type === 'transfer') learn({ transfer: event });
    else if (event.type === 'artifact') learn({ transfer: null });
    else if (event.type === 'submission')
      learn({ submission: event.submission.endedAt === null ? event.submission : null });
  }
}
