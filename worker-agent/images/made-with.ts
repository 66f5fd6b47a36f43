/**
 * Remembers the options of create-base-image.sh with which a person has made an image for this Mac, so that
 * an image that the agent fetches in its place gets them too. A published image has none of these options.
 *
 * Invariant: unreadable options are an error. They are not read as "no options".
 *
 * Owns `made-with.json` and `made-with.lock` in the state folder.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { withFileLock } from '../state/file-lock.ts';
import type { ImageState } from './images-file.ts';
import { generationsOf } from './roll-out.ts';

const MadeWith = z.object({
  /** `--restrict-key` */
  restrictKey: z.boolean(),
  /** `--packet-filter` */
  packetFilter: z.string().nullable(),
  /** The contents of the files of `--ca`. */
  authorities: z.string(),
});
export type MadeWith = z.infer<typeof MadeWith>;

/** By the VM that builds are cloned from. */
const MadeWithByVm = z.record(z.string(), MadeWith);

const NOTHING: MadeWith = { restrictKey: false, packetFilter: null, authorities: '' };

const pathIn = (stateDir: string) => join(stateDir, 'made-with.json');

function readAll(stateDir: string): z.infer<typeof MadeWithByVm> {
  let text: string;
  try {
    text = readFileSync(pathIn(stateDir), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  try {
    return MadeWithByVm.parse(JSON.parse(text));
  } catch {
    throw new Error(
      `${pathIn(stateDir)} cannot be read, so it is not known how this Mac's image was made. ` +
        'Delete it, and run `expo-worker base-image --force` with the options that the image shall have',
    );
  }
}

/** Throws if the file cannot be read. */
export const readMadeWith = (stateDir: string, vm: string): MadeWith => readAll(stateDir)[vm] ?? NOTHING;

/** Also forgets the VMs that are no snapshots of `images`. */
export function writeMadeWith(stateDir: string, vm: string, madeWith: MadeWith, images: readonly ImageState[]): void {
  const kept = images.flatMap((image) => generationsOf(image).map((generation) => generation.vm));
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  withFileLock(join(stateDir, 'made-with.lock'), () => {
    const others = Object.entries(readAll(stateDir)).filter(([name]) => name !== vm && kept.includes(name));
    const all = Object.fromEntries([...others, [vm, madeWith]]);
    writeFileAtomic.sync(pathIn(stateDir), `${JSON.stringify(all)}\n`, { mode: 0o600 });
  });
}

/**
 * The options of a VM after create-base-image.sh was called with these words. `before` are the options of the
 * VM until then: the script keeps the filter and the authorities of an existing VM, and ties the key only if
 * the words say so.
 */
export function madeWithOf(words: readonly string[], before: MadeWith = NOTHING): MadeWith {
  const valuesOf = (option: string) => words.flatMap((word, at) => (word === option ? (words[at + 1] ?? []) : []));
  const filter = valuesOf('--packet-filter').at(-1) ?? before.packetFilter;
  const files = valuesOf('--ca').map((file) => readFileSync(file, 'utf8'));
  return {
    restrictKey: words.includes('--restrict-key'),
    packetFilter: filter === 'off' ? null : filter,
    authorities: [before.authorities, ...files]
      .flatMap((text) => text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [])
      .filter((pem, at, all) => all.indexOf(pem) === at)
      .map((pem) => `${pem}\n`)
      .join(''),
  };
}

/** All options except the authorities, which makeImage gets as they are. */
export const wordsOf = ({ restrictKey, packetFilter }: MadeWith): string[] => [
  ...(restrictKey ? ['--restrict-key'] : []),
  ...(packetFilter === null ? [] : ['--packet-filter', packetFilter]),
];
