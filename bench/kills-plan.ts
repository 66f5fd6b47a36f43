/**
 * Plans the builds of `npm run bench:kills`: every byte that each build prints and makes, and which process
 * is killed at which moment. Pure. The same seed gives the same plan. This module computes the expected bytes
 * without the script, so that the comparison notices lost or doubled bytes.
 */
import { createCipheriv, createHash } from 'node:crypto';

export const BLOCK_BYTES = 1024 * 1024;
/** A file of this size or more is sent in parts. */
const LARGE_BLOCKS = 96;
/** One build in this many has such a large file. */
const LARGE_EVERY = 20;

/** The event of the agent that shows each moment. The kill comes `delayMs` later. */
export const MOMENTS = {
  source: { type: 'claimed' },
  log: { type: 'stage', stage: 'building' },
  collect: { type: 'stage', stage: 'collecting' },
  upload: { type: 'artifact', status: 'found' },
  result: { type: 'result' },
} as const;
export type Moment = keyof typeof MOMENTS;

/** The longest random delay of a kill: about as long as the work that follows the moment. */
const DELAY_MAX_MS: Record<Moment, number> = { source: 1_500, log: 4_000, collect: 800, upload: 1_500, result: 400 };
const MOMENT_OF: readonly Moment[] = ['source', 'log', 'log', 'collect', 'upload', 'upload', 'upload', 'result'];

export interface PlannedKill {
  /** Counts from 1. */
  number: number;
  seed: number;
  target: 'agent' | 'controller';
  moment: Moment;
  delayMs: number;
  rounds: number;
  /** How many bytes of the block the script prints in each round. */
  roundBytes: number;
  restMs: number;
  /** How many blocks each of the files `out/0.bin`, `out/1.bin` and so on has. */
  fileBlocks: number[];
}

export function planKill(seed: number, number: number): PlannedKill {
  const bytes = createHash('sha256').update(`${seed} ${number}`).digest();
  let at = 0;
  const between = (low: number, high: number) => low + (bytes.readUInt16LE((at += 2)) % (high - low + 1));
  const moment = MOMENT_OF[between(0, MOMENT_OF.length - 1)]!;
  const fileBlocks = Array.from({ length: between(1, 3) }, () => between(0, 6));
  if (number % LARGE_EVERY === 0) fileBlocks.push(LARGE_BLOCKS + between(0, 8));
  return {
    ...{ number, seed, target: between(0, 1) === 0 ? 'agent' : 'controller', moment },
    ...{ delayMs: between(0, DELAY_MAX_MS[moment]), rounds: between(4, 14), roundBytes: between(1, 60_000) },
    ...{ restMs: between(20, 120), fileBlocks },
  };
}

/** Random bytes that no other build has. */
export function blockOf({ seed, number }: Pick<PlannedKill, 'seed' | 'number'>): Buffer {
  const key = createHash('sha256').update(`block ${seed} ${number}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(BLOCK_BYTES));
}

export const SCRIPT = 'build.sh';
/**
 * The script. It makes a folder beside the files, which the agent archives as a whole. It also runs on
 * macOS's bash 3.2.
 */
export const SCRIPT_TEXT = `set -eu
rounds=$1 bytes=$2 rest=$3; shift 3
round=0
while [ "$round" -lt "$rounds" ]; do
  round=$((round + 1))
  printf 'round %d\\n' "$round"
  head -c "$bytes" block.bin
  sleep "$rest"
done
mkdir -p out/tree/sub
cp block.bin out/tree/sub/block.bin
ln -s sub/block.bin out/tree/link
number=0
for blocks; do
  printf 'file %d\\n' "$number" >"out/$number.bin"
  while [ "$blocks" -gt 0 ]; do cat block.bin; blocks=$((blocks - 1)); done >>"out/$number.bin"
  number=$((number + 1))
done
`;
export const ARTIFACT_GLOBS = ['out/*.bin', 'out/tree'];
export const TREE = 'out/tree.tar.gz';
/** This file is in the archive, beside a link to it. */
export const TREE_FILE = 'tree/sub/block.bin';

export const commandOf = ({ rounds, roundBytes, restMs, fileBlocks }: PlannedKill): string =>
  ['bash', SCRIPT, rounds, roundBytes, (restMs / 1_000).toFixed(3), ...fileBlocks].join(' ');

/** The SHA-256 of everything that the script prints. */
export function logSha256({ rounds, roundBytes, ...plan }: PlannedKill): string {
  const part = blockOf(plan).subarray(0, roundBytes);
  const hash = createHash('sha256');
  for (let round = 1; round <= rounds; round++) hash.update(`round ${round}\n`).update(part);
  return hash.digest('hex');
}

/**
 * The SHA-256 of each file, by name. The folder's archive is left out, because it contains times and owners.
 */
export function fileSha256s(plan: PlannedKill): Map<string, string> {
  const block = blockOf(plan);
  return new Map(
    plan.fileBlocks.map((blocks, index) => {
      const hash = createHash('sha256').update(`file ${index}\n`);
      for (let done = 0; done < blocks; done++) hash.update(block);
      return [`out/${index}.bin`, hash.digest('hex')];
    }),
  );
}
