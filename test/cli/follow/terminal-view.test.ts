/** Tests what a terminal and a pipe show of any log and of several builds, without a process. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Build, Live } from '#contract';
import { KnownErrorWatch } from '../../../cli/follow/known-error-watch.ts';
import type { FollowEvent, View } from '../../../cli/follow/views/events.ts';
import { Narrator } from '../../../cli/follow/views/narrator.ts';
import { PlainView } from '../../../cli/follow/views/plain-view.ts';
import { NOTHING_KNOWN, statusLine } from '../../../cli/follow/views/status-line.ts';
import { TerminalView } from '../../../cli/follow/views/terminal-view.ts';
import { widthOf } from '../../../cli/words.ts';
import { HOSTILE } from '../factories/hostile-answers.ts';
import { Screen } from '../factories/screen.ts';

const NOW = Date.parse('2026-11-29T12:00:00Z');
const at = (ms: number) => new Date(NOW + ms).toISOString();
const LIVE: Live = {
  ...{ attempt: 1, stage: 'building', phase: 'Installing pods', progress: { percent: 41, origin: 'parsed' } },
  ...{ endExpectedAt: at(360_000), vmBeatAt: at(-12_000), agentBeatAt: at(-1_000), outputGrewAt: null },
  deadlines: [
    { name: 'buildTimeout', verdict: 'build_timeout', at: at(7_200_000) },
    { name: 'heartbeatTimeout', verdict: 'vm_silent', at: at(108_000) },
  ],
};
const building = { status: 'building', queuedAt: at(-60_000), endedAt: null } as const;

test('the line of a build leaves out its last parts where it is narrow, and is never wider', () => {
  const standing = { ...NOTHING_KNOWN, build: building, live: LIVE };
  const line = (columns: number, more: object = {}) => statusLine({ ...standing, ...more }, null, NOW, columns);
  expect(line(80)).toBe('Installing pods 41 % · 6 min left · beat 12 s ago · deadline in 1:48');
  expect(line(60)).toBe('Installing pods 41 % · 6 min left · beat 12 s ago');
  expect(line(12)).toBe('Installing …');
  expect(line(80, { isAway: true })).toMatch(/^controller not reached · Installing pods/);
  const queued = { build: { status: 'queued', queuedAt: at(-130_000) }, waitingFor: 'a free worker of pool x' };
  expect(line(80, queued)).toBe('Queued for 2 min 10 s, waits for a free worker of pool x');
  const placed = (ahead: number, startExpectedAt: string | null) =>
    line(80, { ...queued, queue: { ahead, startExpectedAt } });
  expect(placed(1, at(180_000))).toBe(
    'Queued for 2 min 10 s, 2nd in the queue, starts in ~3 min, waits for a free wor…',
  );
  expect(placed(0, at(-1_000))).toMatch(/^Queued for 2 min 10 s, 1st in the queue, waits for/);
  expect(placed(11, null)).toMatch(/, 12th in the queue, waits for/);
  expect(line(80, { live: { ...LIVE, stage: 'booting', vmBeatAt: null } })).toMatch(/^The VM starts · .*beat 1 s ago/);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 5, max: 100 }), (phase, columns) => {
      expect(widthOf(line(columns, { live: { ...LIVE, phase } }) ?? '')).toBeLessThanOrEqual(columns);
    }),
  );
});

const COLOUR = new RegExp(String.raw`${'\x1b'}\[\d*m`, 'g');

/** All that a view writes, as it comes. */
function written(view: (output: PassThrough) => View, events: readonly FollowEvent[], columns = 40): string {
  const output = Object.assign(new PassThrough({ highWaterMark: 1e9 }), { columns, rows: 10 });
  const shown = view(output);
  for (const event of events) shown.show(event);
  shown[Symbol.dispose]();
  return String(output.read() ?? '');
}

const log = (text: string, buildId = 'b_1', attempt = 1): FollowEvent => ({ type: 'log', buildId, attempt, text });
const onTerminal =
  (buildIds = ['b_1']) =>
  (terminal: PassThrough) =>
    new TerminalView({ terminal, buildIds, now: () => NOW, withStatus: true });

test('what is printed just after the terminal became narrower begins below the line that it has wrapped', () => {
  const output = Object.assign(new PassThrough({ highWaterMark: 1e9 }), { columns: 70, rows: 10 });
  using view = onTerminal()(output);
  const screen = new Screen(70);
  view.show({ type: 'build', build: { id: 'b_1', ...building } as Build });
  view.show({ type: 'progress', buildId: 'b_1', live: LIVE, waitingFor: null, queue: null });
  view.show(log('first\n'));
  screen.write(String(output.read()));
  const line = 'Installing pods 41 % · 6 min left · beat 12 s ago · deadline in 1:48';
  expect(screen.lines().slice(-2)).toEqual(['first', line]);
  screen.resize(30);
  output.columns = 30;
  view.show(log('second\n'));
  screen.write(String(output.read()));
  expect(screen.lines().slice(-4)).toEqual(['first', line, 'second', 'Installing pods 41 %']);
});

test('whatever is printed, in whatever pieces, stands whole and in order above the line of the build', () => {
  const text = fc.stringMatching(/^[a-z 日本🙂é]{0,90}$/u);
  const piece = fc.array(fc.oneof(text, fc.constant('\n'), fc.constant('\x1b[31m'), fc.constant('\x1b[0m')));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.integer({ min: 10, max: 60 }), (pieces, columns) => {
      const texts = pieces.map((parts) => parts.join(''));
      const events = texts.flatMap((one, index): FollowEvent[] => [
        log(one),
        { type: 'progress', buildId: 'b_1', live: { ...LIVE, phase: `p${index}` }, waitingFor: null, queue: null },
      ]);
      const screen = new Screen(columns);
      const build = { id: 'b_1', ...building } as Build;
      const all = written(onTerminal(), [{ type: 'build', build }, ...events], columns);
      screen.write(all.replaceAll('\n', '\r\n'));
      const printed = texts
        .join('')
        .replaceAll(COLOUR, '')
        .split('\n')
        .map((line) => line.trimEnd());
      expect(screen.orders).toEqual([]);
      // Two lines of our own stand before the log, and a break follows an unfinished last line.
      expect(screen.lines().slice(2).join('\n').trimEnd()).toBe(printed.join('\n').trimEnd());
    }),
    { numRuns: 300 },
  );
});

test('lines of several builds begin with the platform, whole and each of its own', () => {
  const build = (id: string, platform: 'ios' | 'android'): FollowEvent => ({
    type: 'build',
    build: { ...building, id, platform, project: 'shop', command: 'x', attempt: 1 } as Build,
  });
  const events = [
    ...[build('b_1', 'ios'), build('b_2', 'android')],
    ...[log('one'), log('two\n', 'b_2'), log(' more\nleft'), log('three\n', 'b_2')],
  ];
  const plain = written((output) => new PlainView(output, ['b_1', 'b_2']), events);
  expect(plain.split('\n').filter((line) => line.includes('|'))).toEqual([
    ...['android | two', 'ios | one more', 'android | three', 'ios | left'],
  ]);
  expect(plain).toContain('expo-build (ios): Build b_1: project shop, ios, x.\n');
  expect(written(onTerminal(['b_1', 'b_2']), events)).toContain('ios │ one more\n');
});

test('what a hostile controller says of a build or a submission stays within our sentence', () => {
  const build = { id: 'b_1', status: 'cancelled', endedAt: null, supersededBy: `b_2${HOSTILE}` };
  const submission = { id: `s_1${HOSTILE}`, store: 'google-play', state: 'done', failure: null };
  const more = { timeline: [{ says: `up${HOSTILE}` }], warnings: [`late${HOSTILE}`] };
  const events = [
    { type: 'build', build },
    { type: 'submission', submission: { ...submission, ...more } },
    { type: 'progress', buildId: 'b_1', live: null, waitingFor: HOSTILE },
    { type: 'note', buildId: 'b_1', message: HOSTILE },
  ] as FollowEvent[];
  const narrator = new Narrator();
  const said = events.flatMap((event) => (event.type === 'log' ? [] : narrator.lines(event)));
  expect(said.filter((line) => /^(Build b_2|Submission s_1| {2}up| {2}late)/.test(line))).toHaveLength(4);
  for (const line of said) expect(line).not.toMatch(/[\p{Cc}\u202a-\u202e\u2028\u2029]/u);
});

test('an app for the simulator says how it is installed', () => {
  const artifact = { name: 'out/My App.app.tar.gz', attempt: 1, sha256: 'a', size: 1, app: { signing: 'simulator' } };
  const event = { type: 'artifact', buildId: 'b_1', artifact, path: 'to/My App.app.tar.gz' } as FollowEvent;
  expect(written((output) => new PlainView(output, ['b_1']), [event])).toContain(
    "tar -xzf 'to/My App.app.tar.gz' -C to && xcrun simctl install booted 'to/My App.app'",
  );
});

test('the log of a build that succeeds has no error for --fail-fast', () => {
  const samples = ['1', '3', '5'].map((number) => `expo-export-${number}.log`);
  for (const name of [...samples, 'gradle-native.log', 'xcodebuild-test-ok.log']) {
    const watch = new KnownErrorWatch();
    const lines = readFileSync(join(import.meta.dirname, '../../samples', name), 'utf8').split('\n');
    // Looks are seconds apart, and some fall on a line that is an error only at the end of a log.
    for (const [index, line] of lines.entries()) {
      watch.push(`${line}\n`, 1);
      if (index % 23 === 0) expect(watch.look(), `${name}: ${line}`).toBe(null);
    }
  }
});
