/**
 * Reads an app of iOS from the archive that the agent makes of a folder: `Shop.app.tar.gz`.
 *
 * Invariant: it keeps only a few small files of all that it inflates, and it stops at a bound.
 */
import type { ReadEntry } from 'tar';
import { readArchive } from '../../../client/packing/archive-entries.ts';
import { partsOf } from '../../../client/packing/link-escapes.ts';
import { type Budget, ENTRIES_MAX, ICON_FILE_MAX_BYTES, TEXT_MAX_BYTES, Unreadable } from '../budget.ts';
import type { Said } from '../said.ts';
import { readIosApp } from './ios-app.ts';

const INFLATED_MAX_BYTES = 4 * 1024 ** 3;
/** Icons of all sizes, and other pictures that lie beside them. */
const PICTURES_MAX = 64;

/** Null for an archive that contains no app of iOS. */
export async function readAppArchive(archive: AsyncIterable<Buffer>, budget: Budget): Promise<Said | null> {
  const files = new Map<string, Buffer[]>();
  const paths = new Set<string>();
  let problem: string | null = null;
  let entries = 0;
  let inflatedBytes = 0;
  let pictures = 0;
  const take = (entry: ReadEntry) => {
    entries++;
    inflatedBytes += entry.size;
    if (entries > ENTRIES_MAX) problem = `the archive has more than ${ENTRIES_MAX} files`;
    if (!(inflatedBytes <= INFLATED_MAX_BYTES)) problem = 'the archive is too large when unpacked';
    const [app, ...rest] = partsOf(entry.path);
    const path = rest.join('/');
    if (problem !== null || entry.type !== 'File' || !app?.endsWith('.app') || files.has(path)) return;
    if (path === '_CodeSignature/CodeResources') paths.add(path);
    const isPicture = rest.length === 1 && path.endsWith('.png');
    const isText = path === 'Info.plist' || path === 'embedded.mobileprovision';
    if (!isText && (!isPicture || ++pictures > PICTURES_MAX)) return;
    if (entry.size > (isText ? TEXT_MAX_BYTES : ICON_FILE_MAX_BYTES)) return;
    budget.spend(entry.size);
    const chunks: Buffer[] = [];
    files.set(path, chunks);
    entry.on('data', (chunk: Buffer) => chunks.push(chunk));
  };
  const reader = {
    get done() {
      return problem !== null;
    },
    entry(entry: ReadEntry) {
      try {
        take(entry);
      } catch (error) {
        problem = (error as Error).message;
      }
    },
  };
  const damage = await readArchive(archive, reader, new AbortController().signal);
  if (problem ?? damage) throw new Unreadable(problem ?? 'it is no archive, or damaged');
  if (!files.has('Info.plist')) return null;
  const folder = {
    paths: () => files.keys(),
    has: (path: string) => files.has(path) || paths.has(path),
    read: (path: string) => {
      const chunks = files.get(path);
      return chunks ? Buffer.concat(chunks) : null;
    },
  };
  return readIosApp(folder, budget);
}
