import { expect, test } from 'vitest';
import {
  baselineOf,
  isWork,
  longestOutputAgeMs,
  type OutputClock,
  outputAgeMs,
  startClock,
  type UsageRates,
  withOutput,
  withUsage,
} from '../../../worker-agent/build-log/silent-but-working.ts';
import type { Usage } from '../../../worker-agent/guest/answers.ts';

const KIB = 1024;
const usage = (atS: number, cpuMs: number, networkBytes: number | null = 0): Usage => ({
  ...{ atMs: atS * 1_000, cpuMs, networkBytes },
});
const rates = (cores: number, bytesPerSecond: number | null = 0): UsageRates => ({ cores, bytesPerSecond });

test.each([
  // Nothing before, nothing now.
  [rates(0), rates(0), false],
  // CPU: a hundredth of a core more than before, and not less.
  [rates(0), rates(0.01), false],
  [rates(0), rates(0.011), true],
  [rates(0.5), rates(0.505), false],
  [rates(0.5), rates(0.52), true],
  [rates(0.5), rates(0.1), false],
  // Bytes: the looks of the agent, 5 a second at most, are no work. An upload is.
  [rates(0), rates(0, 10 * KIB), false],
  [rates(0), rates(0, 17 * KIB), true],
  [rates(0, 100 * KIB), rates(0, 110 * KIB), false],
  [rates(0, 100 * KIB), rates(0, 120 * KIB), true],
  // A guest that cannot tell the bytes.
  [rates(0, null), rates(0, 9_000 * KIB), false],
  [rates(0), rates(0, null), false],
  [rates(0, null), rates(0.02, null), true],
] as const)('before %j, now %j: work is %s', (before, now, expected) => {
  expect(isWork(now, before)).toBe(expected);
});

test.each<[Usage[], UsageRates | null, string]>([
  [[], null, 'nothing was seen'],
  [[usage(0, 0)], null, 'one look is no span'],
  // Each span has used 100 ms of CPU more than was seen, but at most a twentieth of a core.
  [[usage(0, 500), usage(5, 900, 10_000)], rates(0.1, 2_000), 'two looks are one span'],
  [[usage(0, 0), usage(5, 2_000, 10_000), usage(10, 2_400, 9_000_000)], rates(0.25, 2_000), 'the slowest span counts'],
  [[usage(0, 0), usage(0.4, 0, 0), usage(5, 150, 5_000)], rates(0.05, 1_000), 'a short span does not count'],
  [[usage(0, 0), usage(0.5, 0, 0), usage(2, 400, 4_000)], rates(0.25, 2_000), 'of short spans the whole counts'],
  [[usage(0, 0), usage(0.4, 0)], rates(0.05), 'to a very short span a twentieth of a core is added'],
  [[usage(0, 0, null), usage(5, 100)], rates(0.04, null), 'bytes are not known at one end'],
  [[usage(0, 0, 900), usage(5, 100, 100)], rates(0.04, null), 'the counter of the bytes was begun anew'],
  [[usage(5, 0), usage(5, 100)], null, 'no time has passed'],
])('before the command %j: %j, because %s', (looks, expected) => {
  expect(baselineOf(looks)).toEqual(expected);
});

/** An event at a second: the log grows, or the guest looks and has used so much since the start. */
type Moment = { atS: number } & ({ output: true } | { cpuMs: number; bytes?: number });

const looks = (fromS: number, untilS: number, cores: number): Moment[] =>
  Array.from({ length: (untilS - fromS) / 10 + 1 }, (_, index) => ({
    ...{ atS: fromS + index * 10, cpuMs: index * 10_000 * cores },
  }));

const ageAfter = (moments: readonly Moment[], nowS: number, baseline: UsageRates | null = rates(0)): number =>
  outputAgeMs(clockAfter(moments, baseline), nowS * 1_000) / 1_000;

function clockAfter(moments: readonly Moment[], baseline: UsageRates | null): OutputClock {
  return moments.reduce(
    (before, moment) => {
      const nowMs = moment.atS * 1_000;
      if ('output' in moment) return withOutput(before, nowMs);
      return withUsage(before, usage(moment.atS + 1_000_000, moment.cpuMs, moment.bytes ?? 0), nowMs);
    },
    startClock(baseline, 0),
  );
}

test.each<[string, Moment[], number, number]>([
  ['a guest that says nothing of what is used', [], 300, 300],
  ['a build that sleeps', looks(0, 300, 0), 300, 300],
  ['a build that works all the time', looks(0, 300, 1), 300, 0],
  ['a build that uses three hundredths of a core', looks(0, 300, 0.03), 300, 0],
  ['a build that uses less than a hundredth of a core', looks(0, 300, 0.005), 300, 300],
  ['work that is newer than the last look counts as before', looks(0, 300, 1), 309, 0],
  ['a guest that looks no more has worked for two looks', looks(0, 300, 1), 350, 30],
  [
    'work that has ended at the last look: the span counts after all',
    [...looks(0, 300, 1), { atS: 310, cpuMs: 300_000 }],
    310,
    10,
  ],
  [
    'a burst in one span makes the clock rest for that span alone',
    [0, 0, 0, 500, 500, 500].map((cpuMs, index) => ({ atS: index * 10, cpuMs })),
    50,
    40,
  ],
  [
    'an upload that needs hardly any CPU',
    [0, 1, 2, 3].map((index) => ({ atS: index * 10, cpuMs: 0, bytes: index * 10 * 40 * KIB })),
    30,
    0,
  ],
  [
    'the log grows in a span with work: only the rest of it counts',
    [...looks(0, 0, 0), { atS: 6, output: true }],
    9,
    3,
  ],
  [
    'so is the rest of the work that was before',
    [
      { atS: 0, cpuMs: 0 },
      { atS: 6, output: true },
      { atS: 10, cpuMs: 5_000 },
      { atS: 20, cpuMs: 5_000 },
    ],
    21,
    11,
  ],
  ['output after work starts the clock at 0', [...looks(0, 300, 1), { atS: 302, output: true }], 309, 0],
  ['output after sleep starts the clock at 0', [...looks(0, 300, 0), { atS: 302, output: true }], 309, 7],
  [
    'the clock of the guest was set back: nothing is known of that span',
    [
      { atS: 0, cpuMs: 0 },
      { atS: -3_600, cpuMs: 10_000 },
    ].map((moment) => moment),
    20,
    20,
  ],
])('%s', (_name, moments, nowS, expectedS) => {
  expect(ageAfter(moments, nowS)).toBe(expectedS);
});

test('what used as much before the command is no work, and without a baseline the clock never rests', () => {
  expect(ageAfter(looks(0, 300, 0.5), 300, rates(0.5))).toBe(300);
  expect(ageAfter(looks(0, 300, 0.6), 300, rates(0.5))).toBe(0);
  expect(ageAfter(looks(0, 300, 4), 300, null)).toBe(300);
});

test.each([
  [
    [0, 0.4, 6],
    [0, 0, 150],
  ],
  [
    [0, 0.4],
    [0, 0],
  ],
  [
    [0, 0.3, 2],
    [0, 0, 0],
  ],
])('services that idle as before are no work, after looks at %j s with %j ms of CPU', (seconds, cpuMs) => {
  const baseline = baselineOf(seconds.map((atS, index) => usage(atS, cpuMs[index]!)));
  expect(ageAfter(looks(0, 3_600, 0.025), 3_600, baseline)).toBe(3_600);
  expect(ageAfter(looks(0, 3_600, 1), 3_600, baseline)).toBe(0);
});

test.each<[string, Moment[], number]>([
  ['a build that never printed anything', [], 300],
  ['silences of 70 s and 200 s, and 30 s up to the end', [70, 270].map((atS) => ({ atS, output: true })), 200],
  ['silences of 70 s and 20 s, and 210 s up to the end', [70, 90].map((atS) => ({ atS, output: true })), 210],
  ['a silence of 300 s with work in it', looks(0, 300, 1), 0],
  [
    'a silence of 290 s with work in its last 40 s, and 10 s up to the end',
    [...[0, 0, 1_000, 2_000, 3_000].map((cpuMs, i) => ({ atS: 240 + i * 10, cpuMs })), { atS: 290, output: true }],
    250,
  ],
])('what a build of 300 s was silent for at most: %s', (_name, moments, expectedS) => {
  expect(longestOutputAgeMs(clockAfter(moments, rates(0)), 300_000) / 1_000).toBe(expectedS);
});

test('the same look, told again and again, is one', () => {
  const first = withUsage(startClock(rates(0), 0), usage(100, 0), 1_000);
  const again = withUsage(first, usage(100, 0), 9_000);
  expect(again).toBe(first);
  expect(outputAgeMs(withUsage(again, usage(110, 5_000), 11_000), 11_000)).toBe(1_000);
});
