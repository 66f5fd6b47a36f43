/**
 * Finds resources in the table of an .apk (`resources.arsc`): the texts and files that the manifest names by
 * their ids. Pure.
 */

import { Unreadable } from '../budget.ts';
import { type Chunk, chunksOf, stringsOf, typedValue } from './binary-xml.ts';
import type { Resources, Value } from './manifest.ts';

const TABLE = 0x0002;
const STRINGS = 0x0001;
const PACKAGE = 0x0200;
const TYPE = 0x0201;
const NO_ENTRY = 0xffffffff;
const COMPLEX = 1;
const COMPACT = 8;
const SPARSE = 1;
const SHORT_OFFSETS = 2;
const REFERENCES_MAX = 8;
const CHUNKS_MAX = 50_000;

interface TypeChunk extends Chunk {
  packageId: number;
}

/** @throws Unreadable or RangeError, also from the functions of the result */
export function openResourceTable(bytes: Buffer): Resources {
  if (bytes.length < 12 || bytes.readUInt16LE(0) !== TABLE) throw new Unreadable('its resources are damaged');
  let textAt: (index: number) => string = () => '';
  const types: TypeChunk[] = [];
  for (const chunk of chunksOf(bytes, bytes.readUInt16LE(2))) {
    if (chunk.type === STRINGS) textAt = stringsOf(chunk);
    if (chunk.type !== PACKAGE) continue;
    const packageId = chunk.bytes.readUInt32LE(8);
    for (const inner of chunksOf(chunk.bytes, chunk.headerBytes))
      if (inner.type === TYPE && types.push({ ...inner, packageId }) > CHUNKS_MAX)
        throw new Unreadable('its resources are damaged');
  }
  return resourcesOf((id) =>
    types
      .filter(({ packageId, bytes: type }) => packageId === id >>> 24 && type[8] === ((id >>> 16) & 255))
      .flatMap((type) => {
        const value = entryOf(type, id & 0xffff, textAt);
        return value ? [{ isUsual: languageOf(type) === 0, value }] : [];
      }),
  );
}

/** One value of a resource. `isUsual`: it belongs to no particular language. */
export interface Candidate {
  isUsual: boolean;
  value: Value;
}

/** Follows resources that name others, up to a bound. */
export function resourcesOf(candidatesOf: (id: number) => Candidate[]): Resources {
  const text = (id: number, left = REFERENCES_MAX): string | null => {
    const found = candidatesOf(id);
    const { value } = found.find(({ isUsual }) => isUsual) ?? found[0] ?? {};
    if (value === undefined || left === 0) return null;
    return 'text' in value ? value.text : text(value.resource, left - 1);
  };
  const files = (id: number, left = REFERENCES_MAX): string[] => {
    const values = candidatesOf(id).map(({ value }) => value);
    const names = values.flatMap((value) => ('text' in value ? [value.text] : []));
    const other = values.find((value) => 'resource' in value);
    return names.length > 0 || other === undefined || left === 0 ? names : files(other.resource, left - 1);
  };
  return { text: (id) => text(id), files: (id) => [...new Set(files(id))] };
}

/** Language and country of the configuration, which begins behind the twenty bytes of the header. */
const languageOf = ({ bytes }: Chunk): number => bytes.readUInt32LE(20 + 8);

function entryOf({ bytes, headerBytes }: Chunk, index: number, textAt: (index: number) => string): Value | null {
  const [flags, count, start] = [bytes.readUInt8(9), bytes.readUInt32LE(12), bytes.readUInt32LE(16)];
  const offset = offsetOf(bytes, headerBytes, index, flags, count);
  if (offset === null) return null;
  const at = start + offset;
  const entryFlags = bytes.readUInt16LE(at + 2);
  if (entryFlags & COMPLEX && !(entryFlags & COMPACT)) return null;
  if (entryFlags & COMPACT) return typedValue(entryFlags >> 8, bytes.readUInt32LE(at + 4), textAt);
  const value = at + bytes.readUInt16LE(at);
  return typedValue(bytes.readUInt8(value + 3), bytes.readUInt32LE(value + 4), textAt);
}

/** The offset of the entry from the first one. Null if this configuration lacks it. */
function offsetOf(bytes: Buffer, from: number, index: number, flags: number, count: number): number | null {
  if (flags & SPARSE) {
    for (let at = from; at < from + 4 * count; at += 4)
      if (bytes.readUInt16LE(at) === index) return 4 * bytes.readUInt16LE(at + 2);
    return null;
  }
  if (index >= count) return null;
  if (flags & SHORT_OFFSETS) {
    const short = bytes.readUInt16LE(from + 2 * index);
    return short === 0xffff ? null : 4 * short;
  }
  const offset = bytes.readUInt32LE(from + 4 * index);
  return offset === NO_ENTRY ? null : offset;
}
