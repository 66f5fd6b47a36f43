/**
 * Measures how well and how fast the progress parser reads build logs.
 *
 *   npm run bench:progress                          the sample logs
 *   npm run bench:progress -- FILE [EARLIER…] [--command 'npm ci && …'] [--platform ios|android]
 *
 * If the lines of a log begin with a time, the percentage is compared with the share of time that had really
 * passed, at 500 moments spread evenly over the build. The share of lines is compared in the same way. These
 * times are understood:
 *
 *   2026-01-31T12:00:00.123Z text     ISO 8601, any number of decimals, `Z` or an offset, also in brackets
 *   [12.345] text                     seconds since the start
 * {"time":"2026-…","msg":"text","phase":"PREBUILD"}     the form in which EAS stores a build's log
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ProgressHistory } from '#contract';
import { mergeHistory } from '../controller/phase-history/merge.ts';
import { createProgressParser, type ProgressParserOptions } from '../log-reader/progress/parser.ts';

const MOMENTS = 500;
const ROUNDS = 5;
const CHUNK_BYTES = 64 * 1024;
const BYTES_MEASURED = 4 * 1024 * 1024;
const SAMPLES = fileURLToPath(new URL('../test/samples/', import.meta.url));
const EXPO_COMMAND = 'npm ci && npx expo export --platform ios';

interface Sample {
  file: string;
  /** Logs of the same project, the oldest first. */
  earlier?: string[];
  command?: string;
}
const SAMPLE_LOGS: Sample[] = [
  { file: 'xcodebuild-clean-build-xcode15.log' },
  { file: 'xcodebuild-test-ok.log' },
  { file: 'xcodebuild-compile-error.log' },
  { file: 'xcodebuild-simulator-timeout.log' },
  { file: 'xcodebuild-early-unexpected-exit.log' },
  { file: 'xcodebuild-old-format-fail.log' },
  // Four builds of one project, in the order in which they were made.
  { file: 'expo-export-1.log', command: EXPO_COMMAND },
  { file: 'expo-export-2.log', earlier: ['expo-export-1.log'], command: EXPO_COMMAND },
  { file: 'expo-export-3.log', earlier: ['expo-export-1.log', 'expo-export-2.log'], command: EXPO_COMMAND },
  {
    file: 'expo-export-4.log',
    earlier: ['expo-export-1.log', 'expo-export-2.log', 'expo-export-3.log'],
    command: EXPO_COMMAND,
  },
  // Three more, on a machine that did nothing else.
  { file: 'expo-export-5.log', command: EXPO_COMMAND },
  { file: 'expo-export-6.log', earlier: ['expo-export-5.log'], command: EXPO_COMMAND },
  { file: 'expo-export-7.log', earlier: ['expo-export-5.log', 'expo-export-6.log'], command: EXPO_COMMAND },
  // Made up in the shape of real builds (test/samples/README.md).
  { file: 'gradle-native.log', command: 'cd android && ./gradlew assembleRelease' },
  { file: 'gradle-without-native.log', command: 'cd android && ./gradlew assembleRelease' },
];

interface TimedLine {
  atMs: number;
  text: string;
}

const ISO = /^\uFEFF?\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\]?[ \t]?(.*)$/s;
const SECONDS = /^\[\s*(\d+(?:\.\d+)?)s?\] ?(.*)$/s;

/**
 * The lines with their times, or null if fewer than half of them have a time. A line without one gets the
 * last time.
 */
function timedLines(log: string): TimedLine[] | null {
  const lines = log.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const timed: TimedLine[] = [];
  let startMs: number | null = null;
  let nowMs = 0;
  let known = 0;
  for (const line of lines) {
    const [stamp, text, isDate] = splitTime(line);
    if (stamp !== null) {
      startMs ??= isDate ? stamp : 0;
      nowMs = Math.max(nowMs, stamp - startMs);
      known++;
    }
    timed.push({ atMs: nowMs, text });
  }
  return known * 2 >= lines.length && nowMs > 0 ? timed : null;
}

function splitTime(line: string): [stampMs: number | null, text: string, isDate: boolean] {
  const iso = ISO.exec(line);
  if (iso) {
    // Date accepts three decimals. Hosted runners print seven.
    const stamp = Date.parse(iso[1]!.replace(' ', 'T').replace(/[.,](\d{1,3})\d*/, '.$1'));
    if (Number.isFinite(stamp)) return [stamp, iso[2] ?? '', true];
  }
  const seconds = SECONDS.exec(line);
  if (seconds) return [Number(seconds[1]) * 1_000, seconds[2] ?? '', false];
  if (line.startsWith('{')) {
    try {
      const { time, msg, phase } = JSON.parse(line) as { time?: string; msg?: string; phase?: string };
      const stamp = Date.parse(time ?? '');
      if (Number.isFinite(stamp)) return [stamp, `${phase ? `[${phase}] ` : ''}${msg ?? ''}`, true];
    } catch {
      // The line is not JSON, so it is an ordinary line.
    }
  }
  return [null, line, false];
}

const encoder = new TextEncoder();
const encode = (text: string) => encoder.encode(`${text}\n`);

/**
 * Parses the whole log and reads the progress after each line. Returns the names of the phases in order, and
 * whether the percentage ever fell.
 */
function walk(lines: TimedLine[], options: ProgressParserOptions) {
  const parser = createProgressParser(options);
  const names = new Set<string>();
  let last = 0;
  let monotone = true;
  for (const { atMs, text } of lines) {
    parser.push(encode(text), atMs);
    const { percent, phase } = parser.snapshot(atMs);
    names.add(phase);
    if (percent < last || percent > 99) monotone = false;
    last = percent;
  }
  return { names: [...names], monotone, percent: last };
}

/** The record of a finished build, as the controller would keep it. */
function learn(lines: TimedLine[], options: ProgressParserOptions): ProgressHistory {
  const parser = createProgressParser(options);
  for (const { atMs, text } of lines) parser.push(encode(text), atMs);
  return parser.record(lines.at(-1)?.atMs ?? 0);
}

interface Errors {
  mean: number;
  worst: number;
}

const format = ({ mean, worst }: Errors) => `mean ${mean.toFixed(1)}, worst ${worst.toFixed(1)} points`;

function errorsOf(lines: TimedLine[], percentAt: (atMs: number, linesSoFar: number) => number): Errors {
  const totalMs = lines.at(-1)?.atMs ?? 0;
  let sum = 0;
  let worst = 0;
  let next = 0;
  for (let moment = 1; moment < MOMENTS; moment++) {
    const atMs = (totalMs * moment) / MOMENTS;
    while (next < lines.length && lines[next]!.atMs <= atMs) next++;
    const error = Math.abs(percentAt(atMs, next) - (100 * moment) / MOMENTS);
    sum += error;
    worst = Math.max(worst, error);
  }
  return { mean: sum / (MOMENTS - 1), worst };
}

function parserErrors(lines: TimedLine[], options: ProgressParserOptions): Errors {
  const parser = createProgressParser(options);
  let fed = 0;
  return errorsOf(lines, (atMs, linesSoFar) => {
    for (; fed < linesSoFar; fed++) parser.push(encode(lines[fed]!.text), lines[fed]!.atMs);
    return parser.snapshot(atMs).percent;
  });
}

/** The best of several rounds, in lines a second. Both read the same bytes in the same chunks. */
function speeds(log: Uint8Array): { parser: number; splitter: number } {
  // A short log is repeated many times, because chunks of a few lines would measure the chunks.
  const once = log.at(-1) === 10 ? log : Buffer.concat([log, encode('')]);
  const ended = Buffer.concat(Array.from({ length: Math.ceil(BYTES_MEASURED / once.length) }, () => once));
  const lines = ended.reduce((count, byte) => count + (byte === 10 ? 1 : 0), 0);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < ended.length; at += CHUNK_BYTES) chunks.push(ended.subarray(at, at + CHUNK_BYTES));
  const best = (read: (chunk: Uint8Array) => number) => {
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      let sum = 0;
      for (const chunk of chunks) sum += read(chunk);
      // The sum is used, so that the engine cannot optimise its computation away.
      if (sum >= 0) least = Math.min(least, performance.now() - start);
    }
    return (lines * 1_000) / least;
  };
  const decoder = new TextDecoder();
  let rest = '';
  // Splits by hand, because String.split remembers earlier results and would measure nothing.
  const splitter = best((chunk) => {
    const text = decoder.decode(chunk, { stream: true });
    let chars = 0;
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      const line = rest + text.slice(start, end);
      rest = '';
      chars += line.length;
      start = end + 1;
    }
    rest += text.slice(start);
    return chars;
  });
  const parser = createProgressParser();
  return {
    splitter,
    parser: best((chunk) => {
      parser.push(chunk, 0);
      return parser.snapshot(0).percent;
    }),
  };
}

function report(path: string, earlierPaths: string[], options: ProgressParserOptions) {
  const bytes = readFileSync(path);
  const timed = timedLines(bytes.toString('utf8'));
  const plain = timed ? Buffer.from(timed.map(({ text }) => `${text}\n`).join('')) : bytes;
  // A log without times is parsed as if a line came every second.
  const lines =
    timed ??
    plain
      .toString('utf8')
      .split('\n')
      .map((text, index) => ({ atMs: index * 1_000, text }));
  const { names, monotone, percent } = walk(lines, options);
  const { parser, splitter } = speeds(plain);
  console.log(`\n${basename(path)}`);
  console.log(`  phases      ${names.join(', ')}`);
  console.log(`  monotone    ${monotone ? 'yes' : 'NO'}, ends at ${percent} %`);
  const million = (figure: number) => `${(figure / 1e6).toFixed(2)} M`;
  const share = ((100 * parser) / splitter).toFixed(1);
  console.log(`  speed       ${million(parser)} lines/s, ${share} % of a bare line splitter (${million(splitter)})`);
  if (!timed) {
    console.log('  error       no times in this log');
    return monotone;
  }
  const seconds = (timed.at(-1)!.atMs / 1_000).toFixed(1);
  console.log(`  time        ${seconds} s, of which the error in points of 100:`);
  console.log(`    share of lines     ${format(errorsOf(timed, (_, soFar) => (100 * soFar) / timed.length))}`);
  console.log(`    output alone       ${format(parserErrors(timed, {}))}`);
  if (options.command) console.log(`    and the command    ${format(parserErrors(timed, options))}`);
  let history: ProgressHistory | null = null;
  for (const [index, earlierPath] of earlierPaths.entries()) {
    const earlier = timedLines(readFileSync(earlierPath, 'utf8'));
    if (!earlier) throw new Error(`${earlierPath} has no times`);
    history = mergeHistory(history, learn(earlier, options));
    // The newest earlier log is measured alone first, because the aim is the error with one earlier build.
    if (index < earlierPaths.length - 1) continue;
    const one = format(parserErrors(timed, { ...options, history: learn(earlier, options) }));
    console.log(`    one earlier build  ${one}`);
    if (index > 0)
      console.log(`    ${index + 1} earlier builds   ${format(parserErrors(timed, { ...options, history }))}`);
  }
  return monotone;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { command: { type: 'string' }, platform: { type: 'string' } },
});
const platform = values.platform === 'android' ? 'android' : 'ios';
const [file, ...earlier] = positionals;
const jobs: Sample[] = file
  ? [{ file, earlier, command: values.command }]
  : SAMPLE_LOGS.map((sample) => ({
      ...sample,
      file: SAMPLES + sample.file,
      earlier: sample.earlier?.map((name) => SAMPLES + name),
    }));
try {
  const results = jobs.map((job) => report(job.file, job.earlier ?? [], { command: job.command, platform }));
  process.exitCode = results.every(Boolean) ? 0 : 1;
} catch (error) {
  console.error(`Cannot read the log: ${(error as Error).message}`);
  process.exitCode = 2;
}
