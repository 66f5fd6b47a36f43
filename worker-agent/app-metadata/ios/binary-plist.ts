/**
 * Reads a property list in Apple's binary form, as Xcode writes Info.plist into an app. Pure.
 *
 * Invariant: it takes time in proportion to the bytes. Each object is read once however often others name it,
 * and all lists together have a bounded number of members. It throws Unreadable or RangeError, and nothing
 * else.
 */
import type { ListValue } from '../../../client/signing/property-list.ts';
import { Unreadable } from '../budget.ts';

const TRAILER_BYTES = 32;
const DEPTH_MAX = 20;
const MEMBERS_MAX = 100_000;
/** Apple counts seconds from the beginning of 2001. */
const APPLE_EPOCH_MS = Date.UTC(2001, 0, 1);

const damaged = () => new Unreadable('a property list in it is damaged');

export const isBinaryPlist = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 6) === 'bplist';

export function parseBinaryPlist(bytes: Buffer): Map<string, ListValue> {
  const reader = new Reader(bytes);
  const whole = reader.top();
  if (!(whole instanceof Map)) throw damaged();
  return whole;
}

class Reader {
  readonly #bytes: Buffer;
  readonly #offsetBytes: number;
  readonly #referenceBytes: number;
  readonly #objects: number;
  readonly #top: number;
  readonly #tableAt: number;
  readonly #known = new Map<number, ListValue>();
  readonly #open = new Set<number>();
  #members = 0;

  constructor(bytes: Buffer) {
    if (bytes.length < 8 + TRAILER_BYTES) throw damaged();
    const trailer = bytes.subarray(-TRAILER_BYTES);
    this.#bytes = bytes;
    this.#offsetBytes = trailer.readUInt8(6);
    this.#referenceBytes = trailer.readUInt8(7);
    this.#objects = Number(trailer.readBigUInt64BE(8));
    this.#top = Number(trailer.readBigUInt64BE(16));
    this.#tableAt = Number(trailer.readBigUInt64BE(24));
  }

  top(): ListValue {
    return this.#object(this.#top, 0);
  }

  #number(at: number, length: number): number {
    if (length < 1 || length > 8 || !Number.isSafeInteger(at) || at < 0 || at + length > this.#bytes.length)
      throw damaged();
    if (length <= 6) return this.#bytes.readUIntBE(at, length);
    return Number(BigInt(`0x${this.#bytes.toString('hex', at, at + length)}`));
  }

  #object(index: number, depth: number): ListValue {
    const known = this.#known.get(index);
    if (known !== undefined) return known;
    if (index >= this.#objects || depth > DEPTH_MAX || this.#open.has(index)) throw damaged();
    this.#open.add(index);
    const value = this.#read(this.#number(this.#tableAt + index * this.#offsetBytes, this.#offsetBytes), depth);
    this.#open.delete(index);
    this.#known.set(index, value);
    return value;
  }

  #read(at: number, depth: number): ListValue {
    const marker = this.#number(at, 1);
    const [kind, low] = [marker >> 4, marker & 15];
    switch (kind) {
      case 0:
        return low === 9;
      case 1:
        // Of a longer number only the last 8 bytes are read, because nobody needs more here.
        return this.#number(at + 1 + Math.max(0, 2 ** low - 8), Math.min(8, 2 ** low));
      case 2:
        return low === 2 ? this.#slice(at + 1, 4).readFloatBE() : this.#slice(at + 1, 8).readDoubleBE();
      case 3:
        return new Date(APPLE_EPOCH_MS + this.#slice(at + 1, 8).readDoubleBE() * 1_000);
      case 4:
        return Buffer.from(this.#sized(at, low, 1));
      case 5:
        return this.#sized(at, low, 1).toString('latin1');
      case 6:
        return Buffer.from(this.#sized(at, low, 2))
          .swap16()
          .toString('utf16le');
      case 8:
        return this.#number(at + 1, low + 1);
      case 10:
      case 12:
        return this.#references(at, low, 1).map((index) => this.#object(index, depth + 1));
      case 13:
        return this.#dictionary(this.#references(at, low, 2), depth);
      default:
        throw damaged();
    }
  }

  #dictionary(references: number[], depth: number): Map<string, ListValue> {
    const count = references.length / 2;
    const entries = new Map<string, ListValue>();
    for (let index = 0; index < count; index++) {
      const key = this.#object(references[index]!, depth + 1);
      if (typeof key === 'string') entries.set(key, this.#object(references[count + index]!, depth + 1));
    }
    return entries;
  }

  /** The size stands in the marker, or in a number behind it. */
  #size(at: number, low: number): { size: number; from: number } {
    if (low < 15) return { size: low, from: at + 1 };
    const marker = this.#number(at + 1, 1);
    const length = 2 ** (marker & 15);
    if (marker >> 4 !== 1) throw damaged();
    return { size: this.#number(at + 2, length), from: at + 2 + length };
  }

  #sized(at: number, low: number, unitBytes: number): Buffer {
    const { size, from } = this.#size(at, low);
    return this.#slice(from, size * unitBytes);
  }

  #references(at: number, low: number, each: number): number[] {
    const { size, from } = this.#size(at, low);
    const count = size * each;
    this.#members += count;
    if (!(this.#members <= MEMBERS_MAX)) throw damaged();
    return Array.from({ length: count }, (_, index) =>
      this.#number(from + index * this.#referenceBytes, this.#referenceBytes),
    );
  }

  /** Texts that overlap could together be larger than the file, so they count as members do. */
  #slice(at: number, length: number): Buffer {
    this.#members += length / 64;
    if (!(this.#members <= MEMBERS_MAX) || !(at + length <= this.#bytes.length)) throw damaged();
    return this.#bytes.subarray(at, at + length);
  }
}
