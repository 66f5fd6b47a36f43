/**
 * The builds of `npm run bench:kills`: what each prints and leaves, to the byte, and when which process is killed. Pure: the same seed is the
 * same plan. The expected bytes are worked out here and not by the script, so that lost or doubled ones cannot pass for right.
 */
import { createCipheriv, createHash } from 'node:crypto';

export const BLOCK_BYTES = 1024 * 1024;
/** From here on a file goes up in parts. */
const LARGE_BLOCKS = 96;
/** One build in so many has such a file. */
const LARGE_EVERY = 20;

/** What an agent says when it is reached; the kill comes `delayMs` later. */
export const MOMENTS = {
  source: { type: 'claimed' },
  log: { type: 'stage', stage: 'building' },
  collect: { type: 'stage', stage: 'collecting' },
  upload: { type: 'artifact', status: 'found' },
  result: { type: 'result' },
} as const;
export type Moment = keyof typeof MOMENTS;

/** Within this, at random: about as long as what is going on then. */
const DELAY_MAX_MS: Record<Moment, number> = { source: 1_500, log: 4_000, collect: 800, upload: 1_500, result: 400 };
const MOMENT_OF: readonly Moment[] = ['source', 'log', 'log', 'collect', 'upload', 'upload', 'upload', 'result'];

export interface PlannedKill {
  /** From 1. */
  number: number;
  seed: number;
  target: 'agent' | 'controller';
  moment: Moment;
  delayMs: number;
  rounds: number;
  /** Of the block, in each round. */
  roundBytes: number;
  restMs: number;
  /** The files `out/0.bin` and on, by how often they have the block. */
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

/** Bytes of any value, which no other build has. */
export function blockOf({ seed, number }: Pick<PlannedKill, 'seed' | 'number'>): Buffer {
  const key = createHash('sha256').update(`block ${seed} ${number}`).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(BLOCK_BYTES));
}

export const SCRIPT = 'build.sh';
/** Beside the files it makes a folder, which is archived as a whole. Runs on macOS's bash 3.2 too. */
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
/** In the archive, beside a link to it. */
export const TREE_FILE = 'tree/sub/block.bin';

export const commandOf = ({ rounds, roundBytes, restMs, fileBlocks }: PlannedKill): string =>
  ['bash', SCRIPT, rounds, roundBytes, (restMs / 1_000).toFixed(3), ...fileBlocks].join(' ');

/** SHA-256 of what it prints. */
export function logSha256({ rounds, roundBytes, ...plan }: PlannedKill): string {
  const part = blockOf(plan).subarray(0, roundBytes);
  const hash = createHash('sha256');
  for (let round = 1; round <= rounds; round++) hash.update(`round ${round}\n`).update(part);
  return hash.digest('hex');
}

/** By name, without the folder's archive: that has times and owners in it. */
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
