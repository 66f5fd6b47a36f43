/** Has logs for the tests: the recorded samples, and one made up in the shape of a measured EAS build. */
import { readFileSync } from 'node:fs';
import type { ProgressHistory } from '#contract';
import {
  createProgressParser,
  type Progress,
  type ProgressParserOptions,
} from '../../../log-reader/progress/parser.ts';

export interface TimedLine {
  atMs: number;
  text: string;
}

export const sample = (name: string): Buffer => readFileSync(new URL(`../../samples/${name}`, import.meta.url));

/** A recorded log whose lines begin with `[seconds]`. */
export const recorded = (name: string): TimedLine[] =>
  sample(name)
    .toString()
    .split('\n')
    .map((line) => {
      const match = /^\[([\d.]+)\] ?(.*)$/.exec(line);
      return { atMs: Number(match?.[1]) * 1_000, text: match?.[2] ?? '' };
    });

/** The same sequence for the same seed. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

/**
 * An `eas build --local` for iOS with the phases, durations and counts of one that was measured: 1,569 s, 116
 * pods, 898 actions, a silence of 209 s and then 149 lines at once. `speed` stretches it, the seed moves the
 * actions about.
 */
export function easLog({ seed = 1, speed = 1 } = {}): TimedLine[] {
  const next = random(seed);
  const lines: TimedLine[] = [];
  let nowMs = 0;
  const phase = (name: string, seconds: number, texts: string[], times?: number[]) => {
    const durationMs = seconds * 1_000 * speed * (0.9 + 0.2 * next());
    const at = times ?? texts.map((_, i) => i / texts.length);
    texts.forEach((text, i) => {
      lines.push({ atMs: nowMs + (at[i] ?? 0) * durationMs, text: `[${name}] ${text}` });
    });
    nowMs += durationMs;
  };
  phase('SETUP_WORKINGDIR', 1, ['Preparing workingdir']);
  phase('INSTALL_DEPENDENCIES', 34.1, [
    'Installing dependencies',
    ...Array.from({ length: 20 }, (_, i) => `Progress: resolved 1500, reused 0, downloaded ${i * 75}, added ${i * 70}`),
    'Done in 34.1s using pnpm v9.15.9',
  ]);
  phase('RUN_EXPO_DOCTOR', 30.6, ['Running "expo doctor"', 'Running 17 checks on your project...']);
  phase('PREPARE_CREDENTIALS', 8, ['Preparing credentials', 'Creating keychain']);
  phase('PREBUILD', 9.9, ['- Creating native directory (./ios)', '✔ Created native directory', '✔ Finished prebuild']);
  const pods = Array.from({ length: 116 }, (_, i) => `Installing Pod${i} (1.0.${i})`);
  phase('INSTALL_PODS', 106.9, [
    'Using Expo modules',
    ...pods,
    'Generating Pods project',
    'Pod installation complete! There are 108 dependencies from the Podfile and 116 total pods installed.',
  ]);
  phase('CONFIGURE_XCODE_PROJECT', 3, ['Configuring Xcode project']);
  phase('EAGER_BUNDLE', 84.7, [
    'Starting Metro Bundler',
    ...Array.from({ length: 20 }, (_, i) => `iOS index.js ▓▓░░ ${(i * 4.8).toFixed(1)}% (${i * 190}/3800)`),
    'iOS Bundled 69808ms index.js (3826 modules)',
    'Done writing bundle output',
  ]);
  // Nothing for the first 6 %, then bursts; the silence begins somewhere in the middle.
  const silenceAt = 0.3 + 0.2 * next();
  const times = Array.from({ length: 749 }, () => 0.06 + 0.9 * next())
    .map((at) => (at > silenceAt && at < silenceAt + 0.16 ? at + 0.16 : at))
    .concat(Array.from({ length: 149 }, () => silenceAt + 0.16));
  const actions = times.map((_, i) => `› Compiling react-native Pods/Pod${i % 116} » File${i}.cpp`);
  phase(
    'RUN_FASTLANE',
    1_287.4,
    ['Creating Gymfile', ...actions, 'Successfully exported and signed the ipa file:'],
    [0, ...times.sort((a, b) => a - b).map((at) => Math.min(at, 0.97)), 0.99],
  );
  phase('CLEAN_UP_CREDENTIALS', 1.4, ['Destroying keychain']);
  phase('PREPARE_ARTIFACTS', 2, ['Writing artifacts to /tmp/build.ipa']);
  lines.push({ atMs: nowMs, text: 'Build successful' });
  return lines;
}

const encoder = new TextEncoder();
export const encode = (text: string): Uint8Array => encoder.encode(text);
export const totalMs = (lines: TimedLine[]): number => lines.at(-1)?.atMs ?? 0;

export function learn(lines: TimedLine[], options: ProgressParserOptions = {}): ProgressHistory {
  const parser = createProgressParser(options);
  for (const { atMs, text } of lines) parser.push(encode(`${text}\n`), atMs);
  return parser.record(totalMs(lines));
}

/** The progress that the parser shows at `moments` evenly spread over the build. */
export function watch(
  lines: TimedLine[],
  options: ProgressParserOptions = {},
  moments = 200,
): (Progress & { truth: number })[] {
  const parser = createProgressParser(options);
  const seen: (Progress & { truth: number })[] = [];
  let fed = 0;
  for (let moment = 1; moment < moments; moment++) {
    const atMs = (totalMs(lines) * moment) / moments;
    for (; fed < lines.length && lines[fed]!.atMs <= atMs; fed++)
      parser.push(encode(`${lines[fed]!.text}\n`), lines[fed]!.atMs);
    seen.push({ ...parser.snapshot(atMs), truth: (100 * moment) / moments });
  }
  return seen;
}

export function meanError(lines: TimedLine[], options: ProgressParserOptions = {}): number {
  const seen = watch(lines, options);
  return seen.reduce((sum, { percent, truth }) => sum + Math.abs(percent - truth), 0) / seen.length;
}
