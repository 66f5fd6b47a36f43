/**
 * Reads the manifest of an .apk: Android's binary XML, and the pool of texts that it shares with the table of
 * resources. Pure.
 *
 * Invariant: it takes time in proportion to the bytes, and throws Unreadable or RangeError, and nothing else.
 */

import { Unreadable } from '../budget.ts';
import type { Element, Value } from './manifest.ts';

const XML = 0x0003;
const STRINGS = 0x0001;
const ATTRIBUTE_IDS = 0x0180;
const START = 0x0102;
const END = 0x0103;
const IN_UTF8 = 0x100;
const DEPTH_MAX = 2;
const ELEMENTS_MAX = 10_000;
const STRING_MAX = 4_096;

const damaged = () => new Unreadable('its manifest is damaged');

export interface Chunk {
  type: number;
  headerBytes: number;
  bytes: Buffer;
}

/** The chunks between two places. Each has its type, the length of its header, and its length. */
export function* chunksOf(bytes: Buffer, from: number, to = bytes.length): Generator<Chunk> {
  for (let at = from; at + 8 <= to; ) {
    const [type, headerBytes, length] = [
      bytes.readUInt16LE(at),
      bytes.readUInt16LE(at + 2),
      bytes.readUInt32LE(at + 4),
    ];
    if (length < 8 || headerBytes > length || at + length > to) throw damaged();
    yield { type, headerBytes, bytes: bytes.subarray(at, at + length) };
    at += length;
  }
}

/** A pool of texts, each read only when it is asked for. */
export function stringsOf({ bytes, headerBytes }: Chunk): (index: number) => string {
  const [count, flags, start] = [bytes.readUInt32LE(8), bytes.readUInt32LE(16), bytes.readUInt32LE(20)];
  return (index) => {
    if (index >= count) throw damaged();
    let at = start + bytes.readUInt32LE(headerBytes + 4 * index);
    if ((flags & IN_UTF8) === 0) {
      const length = bytes.readUInt16LE(at);
      // With the first bit set the length has two units.
      if (length & 0x8000) return bytes.toString('utf16le', at + 4, at + 4 + 2 * STRING_MAX);
      return bytes.toString('utf16le', at + 2, at + 2 + 2 * Math.min(length, STRING_MAX));
    }
    at += bytes.readUInt8(at) & 0x80 ? 2 : 1;
    const first = bytes.readUInt8(at);
    const length = first & 0x80 ? ((first & 0x7f) << 8) | bytes.readUInt8(at + 1) : first;
    at += first & 0x80 ? 2 : 1;
    return bytes.toString('utf8', at, at + Math.min(length, STRING_MAX));
  };
}

export function readBinaryXml(bytes: Buffer): Element[] {
  if (bytes.length < 8 || bytes.readUInt16LE(0) !== XML) throw damaged();
  let textAt: (index: number) => string = () => '';
  let ids: Buffer = Buffer.alloc(0);
  let depth = 0;
  const elements: Element[] = [];
  for (const chunk of chunksOf(bytes, bytes.readUInt16LE(2))) {
    if (chunk.type === STRINGS) textAt = stringsOf(chunk);
    else if (chunk.type === ATTRIBUTE_IDS) ids = chunk.bytes.subarray(chunk.headerBytes);
    else if (chunk.type === END) depth--;
    else if (chunk.type === START) {
      if (depth < DEPTH_MAX && elements.push(elementOf(chunk, depth, textAt, ids)) > ELEMENTS_MAX) throw damaged();
      depth++;
    }
  }
  return elements;
}

function elementOf(
  { bytes, headerBytes }: Chunk,
  depth: number,
  textAt: (index: number) => string,
  ids: Buffer,
): Element {
  const [byId, byName] = [new Map<number, Value>(), new Map<string, Value>()];
  const name = textAt(bytes.readUInt32LE(headerBytes + 4));
  const [start, each, count] = [8, 10, 12].map((at) => bytes.readUInt16LE(headerBytes + at)) as [
    number,
    number,
    number,
  ];
  if (each < 20) throw damaged();
  for (let index = 0; index < count; index++) {
    const at = headerBytes + start + index * each;
    const key = bytes.readUInt32LE(at + 4);
    const value = typedValue(bytes.readUInt8(at + 15), bytes.readUInt32LE(at + 16), textAt);
    const id = 4 * key + 4 <= ids.length ? ids.readUInt32LE(4 * key) : 0;
    if (value === null) continue;
    if (id !== 0) byId.set(id, value);
    else byName.set(textAt(key), value);
  }
  return { name, depth, byId, byName };
}

/** A typed value as Android writes it. Null for a type that no attribute here has. */
export function typedValue(type: number, data: number, textAt: (index: number) => string): Value | null {
  if (type === 1) return { resource: data };
  if (type === 3) return { text: textAt(data) };
  if (type === 0x10 || type === 0x11) return { text: String(data | 0) };
  if (type === 0x12) return { text: data === 0 ? 'false' : 'true' };
  return null;
}
