/**
 * Defines the builds of `npm run chaos`: the script of each, and every byte that it must print and produce.
 * Pure. This module computes the expected bytes without the script, so that the judge notices lost or doubled
 * bytes.
 */
import { createHash } from 'node:crypto';

export interface Shape {
  /** The script prints `burst` lines and rests, this many times. */
  rounds: number;
  burst: number;
  restMs: number;
  /** How long the script prints nothing, once, in the middle. */
  silenceMs: number;
  exitCode: number;
  /** The first attempt prints until something ends it. */
  endless: boolean;
  /** After its first round the script prints nothing and does not end. */
  hangs: boolean;
  makesArtifact: boolean;
}

export const ARTIFACT = 'out/app.bundle';
export const SCRIPT = 'build.sh';
const ARTIFACT_LINES = 2_000;
const ENDLESS_ROUNDS = 600;

const line = (build: number, number: number) =>
  `line ${String(number).padStart(6, '0')} of build ${build}: 0123456789 abcdefghijklmnopqrstuvwxyz é\n`;

/** The script also runs on macOS's bash 3.2. */
export const SCRIPT_TEXT = `set -eu
build=$1 rounds=$2 burst=$3 rest=$4 silence=$5 exit_code=$6 endless=$7 hangs=$8 artifact=$9
if [ "$endless" = 1 ] && [ "$TARTBEAT_ATTEMPT" = 1 ]; then rounds=${ENDLESS_ROUNDS}; fi
number=0 round=0
while [ "$round" -lt "$rounds" ]; do
  round=$((round + 1)) last=$((number + burst))
  while [ "$number" -lt "$last" ]; do
    number=$((number + 1))
    printf 'line %06d of build %s: 0123456789 abcdefghijklmnopqrstuvwxyz é\\n' "$number" "$build"
  done
  if [ "$hangs" = 1 ]; then sleep 3600; fi
  if [ "$round" = $(((rounds + 1) / 2)) ]; then sleep "$silence"; fi
  sleep "$rest"
done
if [ "$artifact" = 1 ]; then
  mkdir -p out
  number=0
  while [ "$number" -lt ${ARTIFACT_LINES} ]; do
    number=$((number + 1))
    printf 'part %06d of build %s\\n' "$number" "$build"
  done > ${ARTIFACT}
fi
exit "$exit_code"
`;

export function commandOf(build: number, shape: Shape): string {
  const seconds = (ms: number) => (ms / 1_000).toFixed(2);
  const flag = (value: boolean) => (value ? 1 : 0);
  const { rounds, burst, restMs, silenceMs, exitCode, endless, hangs, makesArtifact } = shape;
  const words = [build, rounds, burst, seconds(restMs), seconds(silenceMs), exitCode];
  return ['bash', SCRIPT, ...words, flag(endless), flag(hangs), flag(makesArtifact)].join(' ');
}

/**
 * The whole output of the script if it ends by itself. If something ends it earlier, its output is the
 * beginning of `printed(…, ENDLESS_ROUNDS)`.
 */
export function printed(build: number, { rounds, burst }: Shape): Buffer {
  return Buffer.from(Array.from({ length: rounds * burst }, (_, index) => line(build, index + 1)).join(''));
}

/** bash's last line about a script that something has killed. */
const KILLED = /^\S+: line \d+: +\d+ Killed +[^\n]*\n$/;

/** The number of bytes at the beginning of `log` that match the build's output. */
export function rightBytes(build: number, log: Buffer): number {
  let number = 0;
  for (let offset = 0; ; ) {
    const next = Buffer.from(line(build, ++number));
    const part = log.subarray(offset, offset + next.length);
    if (part.length === 0) return offset;
    if (!part.equals(next.subarray(0, part.length)))
      return KILLED.test(log.subarray(offset).toString()) ? log.length : offset + firstDifference(part, next);
    offset += part.length;
  }
}

export function expectedArtifact(build: number): { sha256: string; sizeBytes: number } {
  const parts = Array.from(
    { length: ARTIFACT_LINES },
    (_, index) => `part ${String(index + 1).padStart(6, '0')} of build ${build}\n`,
  );
  const bytes = Buffer.from(parts.join(''));
  return { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
}

const firstDifference = (a: Buffer, b: Buffer): number => a.findIndex((byte, index) => byte !== b[index]);
