/** Cuts the logs of several builds, which come in pieces, into lines. Pure. */
import type { LogEvent } from './events.ts';

/** A longer line is cut into parts, so that a log without line breaks does not fill the memory. */
const LINE_MAX_CHARS = 65_536;
const ORDER_MAX_CHARS = 80;

export interface LogLine {
  buildId: string;
  attempt: number;
  text: string;
}

interface Unfinished {
  attempt: number;
  rest: string;
  transform: (text: string) => string;
}

export class LogLines {
  readonly #logs = new Map<string, Unfinished>();
  readonly #transformOf: () => (text: string) => string;

  /** `transformOf` makes the function that changes each log before it is cut. */
  constructor(transformOf: () => (text: string) => string = () => (text) => text) {
    this.#transformOf = transformOf;
  }

  /** The lines that this piece completes, without their line breaks. */
  push({ buildId, attempt, text }: LogEvent): LogLine[] {
    const before = this.#logs.get(buildId);
    const ended = before && before.attempt !== attempt ? this.end(buildId) : [];
    const log = before?.attempt === attempt ? before : { attempt, rest: '', transform: this.#transformOf() };
    this.#logs.set(buildId, log);
    const lines = (log.rest + log.transform(text)).split('\n');
    let rest = lines.pop()!;
    for (let end = cutIn(rest); rest.length > LINE_MAX_CHARS; rest = rest.slice(end), end = cutIn(rest))
      lines.push(rest.slice(0, end));
    log.rest = rest;
    return [...ended, ...lines.map((line) => ({ buildId, attempt, text: line }))];
  }

  /** The unfinished line of the build, or of all builds, as a whole one. */
  end(buildId: string | null = null): LogLine[] {
    return [...this.#logs].flatMap(([id, log]) => {
      const { attempt, rest } = log;
      if ((buildId !== null && id !== buildId) || rest === '') return [];
      log.rest = '';
      return [{ buildId: id, attempt, text: rest }];
    });
  }

  /** The unfinished line of the build. */
  restOf(buildId: string): string {
    return this.#logs.get(buildId)?.rest ?? '';
  }
}

/** The place of the cut: never within a colour or a character. */
function cutIn(text: string): number {
  const order = text.lastIndexOf('\x1b', LINE_MAX_CHARS);
  const isWithin = order > LINE_MAX_CHARS - ORDER_MAX_CHARS && !text.slice(order, LINE_MAX_CHARS).includes('m');
  const end = isWithin ? order : LINE_MAX_CHARS;
  return /[\ud800-\udbff]/.test(text.charAt(end - 1)) ? end - 1 : end;
}
