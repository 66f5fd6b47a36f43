/**
 * Reads the manifest and the resources of an .aab, which are messages of protobuf there. Pure.
 *
 * The numbers are those of aapt2's `Resources.proto` and `Configuration.proto`.
 *
 * Invariant: it takes time in proportion to the bytes, and throws Unreadable or RangeError, and nothing else.
 */

import { Unreadable } from '../budget.ts';
import type { Element, Resources, Value } from './manifest.ts';
import { type Candidate, resourcesOf } from './resource-table.ts';

const DEPTH_MAX = 2;

interface Field {
  number: number;
  /** Of a field that is a number. */
  value: number;
  /** Of a field that is a text or a message. */
  bytes: Buffer;
}

const NONE = Buffer.alloc(0);
const damaged = () => new Unreadable('its manifest or its resources are damaged');

function* fieldsOf(bytes: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    for (let value = 0, scale = 1, length = 0; length < 10; length++, scale *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw damaged();
  };
  while (at < bytes.length) {
    const key = varint();
    const [number, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) yield { number, value: varint(), bytes: NONE };
    else if (kind === 2) {
      const length = varint();
      if (!(at + length <= bytes.length)) throw damaged();
      yield { number, value: 0, bytes: bytes.subarray(at, at + length) };
      at += length;
    } else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else throw damaged();
  }
}

const all = (bytes: Buffer, number: number): Buffer[] =>
  [...fieldsOf(bytes)].filter((field) => field.number === number).map((field) => field.bytes);
const first = (bytes: Buffer, number: number): Buffer | undefined =>
  [...fieldsOf(bytes)].find((field) => field.number === number)?.bytes;
const numberIn = (bytes: Buffer, number: number): number =>
  [...fieldsOf(bytes)].find((field) => field.number === number)?.value ?? 0;
const textIn = (bytes: Buffer, number: number): string => first(bytes, number)?.toString('utf8') ?? '';

export function readBundleXml(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  const walk = (node: Buffer, depth: number): void => {
    const element = first(node, 1);
    if (element === undefined) return;
    const [byId, byName] = [new Map<number, Value>(), new Map<string, Value>()];
    for (const attribute of all(element, 4)) {
      const item = first(attribute, 6);
      const value = (item && valueOfItem(item)) ?? { text: textIn(attribute, 3) };
      const id = numberIn(attribute, 5);
      if (id !== 0) byId.set(id, value);
      else byName.set(textIn(attribute, 2), value);
    }
    elements.push({ name: textIn(element, 3), depth, byId, byName });
    if (depth + 1 < DEPTH_MAX) for (const child of all(element, 5)) walk(child, depth + 1);
  };
  walk(bytes, 0);
  return elements;
}

/** The value of an `Item`: a reference, a text, a file, a number or a boolean. */
function valueOfItem(item: Buffer): Value | null {
  for (const { number, bytes } of fieldsOf(item)) {
    if (number === 1) return { resource: numberIn(bytes, 2) };
    if (number === 2 || number === 3 || number === 5) return { text: textIn(bytes, 1) };
    if (number === 7) {
      for (const field of fieldsOf(bytes)) {
        if (field.number === 6 || field.number === 7) return { text: String(field.value | 0) };
        if (field.number === 8) return { text: field.value === 0 ? 'false' : 'true' };
      }
    }
  }
  return null;
}

export function openBundleResources(bytes: Buffer): Resources {
  const packages = all(bytes, 2);
  return resourcesOf((id) =>
    packages
      .filter((one) => numberIn(first(one, 1) ?? NONE, 1) === id >>> 24)
      .flatMap((one) => all(one, 3))
      .filter((type) => numberIn(first(type, 1) ?? NONE, 1) === ((id >>> 16) & 255))
      .flatMap((type) => all(type, 3))
      .filter((entry) => numberIn(first(entry, 1) ?? NONE, 1) === (id & 0xffff))
      .flatMap((entry) => all(entry, 6))
      .flatMap((configured): Candidate[] => {
        const item = first(first(configured, 2) ?? NONE, 4);
        const value = item && valueOfItem(item);
        return value ? [{ isUsual: textIn(first(configured, 1) ?? NONE, 3) === '', value }] : [];
      }),
  );
}
