/**
 * Reads single files of a zip archive by its central directory: an .ipa, an .apk or an .aab.
 *
 * It uses no library, because the signature of an .apk lies between its files and that directory, where
 * libraries do not look, and because zip tools of Android write extra fields that strict libraries refuse.
 *
 * Invariant: it reads the directory, and then only the files that are asked for, each inflated up to a limit.
 * A name is compared and never becomes a path.
 */
import { inflateRawSync } from 'node:zlib';
import { type Budget, ENTRIES_MAX, Unreadable } from './budget.ts';
import type { OpenFile } from './open-file.ts';

const END = 0x06054b50;
const END_64_PLACE = 0x07064b50;
const END_64 = 0x06064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const COMMENT_MAX = 0xffff;
/** 100,000 entries with names of 320 bytes. */
const DIRECTORY_MAX_BYTES = 32 * 1024 * 1024;

interface Entry {
  method: number;
  packedBytes: number;
  offset: number;
}

export interface Zip {
  names(): IterableIterator<string>;
  /** Null if there is no such file, or if it is larger. */
  read(name: string, maxBytes: number): Buffer | null;
  /** Where the central directory begins. */
  readonly directoryOffset: number;
}

/** @throws Unreadable, or RangeError for an offset outside the file */
export function openZip(file: OpenFile, budget: Budget): Zip {
  const { offset, bytes, count } = findDirectory(file);
  if (count > ENTRIES_MAX) throw new Unreadable(`the archive has more than ${ENTRIES_MAX} files`);
  if (bytes > DIRECTORY_MAX_BYTES) throw new Unreadable('the list of the files in the archive is too large');
  const entries = readDirectory(file.read(offset, bytes), count);
  return {
    directoryOffset: offset,
    names: () => entries.keys(),
    read(name, maxBytes) {
      const entry = entries.get(name);
      return entry === undefined ? null : content(file, entry, maxBytes, budget);
    },
  };
}

function findDirectory(file: OpenFile) {
  const tailBytes = Math.min(file.size, END_BYTES + COMMENT_MAX);
  const tail = file.read(file.size - tailBytes, tailBytes);
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END) continue;
    const [count, bytes, offset] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
    if (count !== 0xffff && bytes !== 0xffffffff && offset !== 0xffffffff) return { count, bytes, offset };
    return findDirectory64(file, file.size - tailBytes + at) ?? { count, bytes, offset };
  }
  throw new Unreadable('it is no zip archive');
}

function findDirectory64(file: OpenFile, endOffset: number) {
  const place = endOffset >= 20 ? file.read(endOffset - 20, 20) : null;
  if (place?.readUInt32LE(0) !== END_64_PLACE) return null;
  const end = file.read(Number(place.readBigUInt64LE(8)), 56);
  if (end.readUInt32LE(0) !== END_64) throw new Unreadable('the archive has no end');
  const numberAt = (at: number) => Number(end.readBigUInt64LE(at));
  return { count: numberAt(32), bytes: numberAt(40), offset: numberAt(48) };
}

/** Of several entries with one name the first counts, as for macOS and Android. */
function readDirectory(directory: Buffer, count: number): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (let index = 0, at = 0; index < count; index++) {
    if (directory.readUInt32LE(at) !== ENTRY) throw new Unreadable('the list of the files in the archive is damaged');
    const nameBytes = directory.readUInt16LE(at + 28);
    const extraBytes = directory.readUInt16LE(at + 30);
    const name = directory.toString('utf8', at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes);
    const extra = directory.subarray(at + ENTRY_BYTES + nameBytes, at + ENTRY_BYTES + nameBytes + extraBytes);
    const entry = {
      method: directory.readUInt16LE(at + 10),
      packedBytes: directory.readUInt32LE(at + 20),
      offset: directory.readUInt32LE(at + 42),
    };
    const is64 = entry.packedBytes === 0xffffffff || entry.offset === 0xffffffff;
    const real = is64 ? withLongNumbers(entry, directory.readUInt32LE(at + 24), extra) : entry;
    if (!entries.has(name)) entries.set(name, real);
    at += ENTRY_BYTES + nameBytes + extraBytes + directory.readUInt16LE(at + 32);
  }
  return entries;
}

/** The extra field 1 has those numbers that do not fit, in this order: length, packed length, offset. */
function withLongNumbers(entry: Entry, length: number, extra: Buffer): Entry {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let next = at + 4 + (length === 0xffffffff ? 8 : 0);
    const take = (short: number): number => {
      if (short !== 0xffffffff) return short;
      next += 8;
      return Number(extra.readBigUInt64LE(next - 8));
    };
    const packedBytes = take(entry.packedBytes);
    return { ...entry, packedBytes, offset: take(entry.offset) };
  }
  throw new Unreadable('the list of the files in the archive is damaged');
}

function content(file: OpenFile, { method, packedBytes, offset }: Entry, maxBytes: number, budget: Budget) {
  // Deflate makes a file at most a little larger, so this one is unpacked larger than `maxBytes`.
  if (packedBytes > maxBytes + 1024) return null;
  const local = file.read(offset, LOCAL_BYTES);
  if (local.readUInt32LE(0) !== LOCAL) throw new Unreadable('a file in the archive is damaged');
  const packed = file.read(offset + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28), packedBytes);
  if (method === 0) return packed.length > maxBytes ? null : packed;
  if (method !== 8) throw new Unreadable('a file in the archive is packed in a way that this agent does not know');
  budget.spend(maxBytes);
  return inflateRawSync(packed, { maxOutputLength: maxBytes });
}
