/** Lists the recognisers of all tools. The first recogniser that knows a line reads it. */
import { bun } from './bun.ts';
import { cocoapods } from './cocoapods.ts';
import { expo } from './expo.ts';
import { fastlane } from './fastlane.ts';
import { gradle } from './gradle.ts';
import { metro } from './metro.ts';
import { npm } from './npm.ts';
import { pnpm } from './pnpm.ts';
import { reactNative } from './react-native.ts';
import type { Recognise, Sighting } from './recogniser.ts';
import { tartbeat } from './tartbeat.ts';
import { xcodeFormatters } from './xcode-formatters.ts';
import { xcodebuild } from './xcodebuild.ts';
import { yarn } from './yarn.ts';

const STARTS_MAX = 512;

export const RECOGNISERS = [
  xcodebuild,
  // Comes before the formatters, because the lines of its scripts look like those of xcbeautify.
  cocoapods,
  xcodeFormatters,
  fastlane,
  reactNative,
  metro,
  expo,
  npm,
  pnpm,
  yarn,
  bun,
  gradle,
  tartbeat,
] as const;

export function createRecognisers(): Recognise {
  const all = RECOGNISERS.map(({ starts, create }) => ({ starts, recognise: create() }));
  /** For each first character of a line, the recognisers that may know the line, in the order above. */
  const byStart = new Map<string, readonly Recognise[]>();
  const candidates = (start: string): readonly Recognise[] => {
    const known = byStart.get(start);
    if (known) return known;
    const some = all.filter(({ starts }) => starts === null || starts.includes(start)).map((one) => one.recognise);
    // The limit protects the memory from a build that prints every character of Unicode.
    if (byStart.size < STARTS_MAX) byStart.set(start, some);
    return some;
  };
  const ask = (line: string): Sighting | null => {
    for (const recognise of candidates(line.charAt(0))) {
      const sighting = recognise(line);
      if (sighting) return sighting;
    }
    return null;
  };
  // fastlane marks the output of any program with the same mark that xcpretty uses for its own lines.
  return (line) => (line.startsWith('▸ ') ? (ask(line.slice(2)) ?? ask(line)) : ask(line));
}
