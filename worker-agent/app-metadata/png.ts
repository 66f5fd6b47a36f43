/**
 * Turns a PNG into a common one: also Apple's own form, in which Xcode puts icons into an app. Pure.
 *
 * Apple's form has a chunk `CgBI`, no header of zlib, the colours in the order blue, green, red, and colours
 * that are multiplied by the opacity. No browser shows it.
 *
 * Invariant: the result is written anew from its pixels alone, at most 1,024 pixels wide and high and at most
 * 256 KiB, and a picture with more pixels is refused before any of them is read.
 */
import { crc32, deflateSync, inflateRawSync, inflateSync } from 'node:zlib';
import { type Budget, Unreadable } from './budget.ts';

export const ICON_MAX_BYTES = 256 * 1024;
const SIDE_MAX = 1_024;
const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** The samples of a pixel, by the number that the header has. */
const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

interface Pixels {
  width: number;
  height: number;
  rgba: Buffer;
}

export const isPng = (bytes: Buffer): boolean => bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE);

/** The width, without a look at the pixels. 0 if the file is no PNG. */
export const widthOfPng = (bytes: Buffer): number => {
  const header = isPng(bytes) ? bytes.indexOf('IHDR', 8, 'latin1') : -1;
  return header > 0 && header < 64 && header + 8 <= bytes.length ? bytes.readUInt32BE(header + 4) : 0;
};

/** Null for a picture that does not get below the limit. @throws Unreadable */
export function commonPng(bytes: Buffer, budget: Budget): Buffer | null {
  let pixels = pixelsOf(bytes, budget);
  for (;;) {
    const png = written(pixels, budget);
    if (png.length <= ICON_MAX_BYTES) return png;
    if (pixels.width < 2 || pixels.height < 2) return null;
    pixels = halved(pixels, budget);
  }
}

const broken = () => new Unreadable('its icon is damaged');

interface Chunks {
  header: Buffer;
  isApples: boolean;
  palette: Buffer;
  opacities: Buffer;
  data: Buffer;
}

function chunksOf(bytes: Buffer): Chunks {
  if (!isPng(bytes)) throw broken();
  const chunks = new Map<string, Buffer>();
  const data: Buffer[] = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (type === 'IEND' || content.length < length) break;
    if (type === 'IDAT') data.push(content);
    else if (!chunks.has(type)) chunks.set(type, content);
    at += 12 + length;
  }
  const header = chunks.get('IHDR');
  if (header?.length !== 13 || data.length === 0) throw broken();
  return {
    ...{ header, isApples: chunks.has('CgBI'), data: Buffer.concat(data) },
    palette: chunks.get('PLTE') ?? Buffer.alloc(0),
    opacities: chunks.get('tRNS') ?? Buffer.alloc(0),
  };
}

function pixelsOf(bytes: Buffer, budget: Budget): Pixels {
  const { header, isApples, palette, opacities, data } = chunksOf(bytes);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, colour, interlaced] = [header[8]!, header[9]!, header[12]!];
  const samples = SAMPLES[colour];
  if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX) throw new Unreadable('its icon is too large');
  if (samples === undefined || !DEPTHS[colour]!.includes(depth) || interlaced !== 0) throw broken();
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  const maxOutputLength = height * (1 + rowBytes);
  budget.spend(2 * maxOutputLength + 4 * width * height);
  const rows = (isApples ? inflateRawSync : inflateSync)(data, { maxOutputLength });
  if (rows.length !== maxOutputLength) throw broken();
  unfilter(rows, rowBytes, Math.max(1, (samples * depth) >> 3));
  const rgba = Buffer.alloc(4 * width * height);
  const sampleAt = (row: number, index: number): number => {
    if (depth === 8) return rows[row + index]!;
    if (depth === 16) return rows[row + 2 * index]!;
    const bit = index * depth;
    const value = (rows[row + (bit >> 3)]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
    return colour === 3 ? value : (value * 255) / (2 ** depth - 1);
  };
  for (let y = 0, to = 0; y < height; y++) {
    const row = y * (1 + rowBytes) + 1;
    for (let x = 0; x < width; x++, to += 4) {
      const first = sampleAt(row, x * samples);
      if (colour === 3) {
        rgba.set([palette[3 * first] ?? 0, palette[3 * first + 1] ?? 0, palette[3 * first + 2] ?? 0], to);
        rgba[to + 3] = opacities[first] ?? 255;
      } else {
        const isGrey = samples < 3;
        rgba[to] = first;
        rgba[to + 1] = isGrey ? first : sampleAt(row, x * samples + 1);
        rgba[to + 2] = isGrey ? first : sampleAt(row, x * samples + 2);
        rgba[to + 3] = samples % 2 === 0 ? sampleAt(row, x * samples + samples - 1) : 255;
      }
    }
  }
  if (isApples) fromApples(rgba);
  return { width, height, rgba };
}

/** Undoes the filter of each row in place. The first byte of a row names its filter. */
function unfilter(rows: Buffer, rowBytes: number, pixelBytes: number): void {
  for (let at = 0, above = -1; at < rows.length; above = at, at += 1 + rowBytes) {
    const filter = rows[at]!;
    if (filter > 4) throw broken();
    for (let index = 1; index <= rowBytes; index++) {
      const left = index > pixelBytes ? rows[at + index - pixelBytes]! : 0;
      const up = above < 0 ? 0 : rows[above + index]!;
      const corner = above < 0 || index <= pixelBytes ? 0 : rows[above + index - pixelBytes]!;
      rows[at + index] = (rows[at + index]! + predicted(filter, left, up, corner)) & 255;
    }
  }
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [byLeft, byUp, byCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (byLeft <= byUp && byLeft <= byCorner) return left;
  return byUp <= byCorner ? up : corner;
}

function fromApples(rgba: Buffer): void {
  for (let at = 0; at < rgba.length; at += 4) {
    const [blue, green, red, opacity] = [rgba[at]!, rgba[at + 1]!, rgba[at + 2]!, rgba[at + 3]!];
    const plain = (value: number) => (opacity === 0 ? 0 : Math.min(255, Math.round((value * 255) / opacity)));
    rgba[at] = plain(red);
    rgba[at + 1] = plain(green);
    rgba[at + 2] = plain(blue);
  }
}

/** Each pixel is the mean of four. */
function halved({ width, height, rgba }: Pixels, budget: Budget): Pixels {
  const [w, h] = [width >> 1, height >> 1];
  budget.spend(4 * w * h);
  const half = Buffer.alloc(4 * w * h);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < 4 * w; x++) {
      const at = 8 * y * width + 2 * x - (x & 3);
      half[4 * y * w + x] = (rgba[at]! + rgba[at + 4]! + rgba[at + 4 * width]! + rgba[at + 4 * width + 4]!) >> 2;
    }
  return { width: w, height: h, rgba: half };
}

function written({ width, height, rgba }: Pixels, budget: Budget): Buffer {
  const rowBytes = 4 * width;
  budget.spend(2 * rgba.length);
  const rows = Buffer.alloc(height * (1 + rowBytes));
  for (let y = 0; y < height; y++) {
    const to = y * (1 + rowBytes);
    rows[to] = 1;
    for (let x = 0; x < rowBytes; x++) {
      const left = x < 4 ? 0 : rgba[y * rowBytes + x - 4]!;
      rows[to + 1 + x] = (rgba[y * rowBytes + x]! - left) & 255;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 6], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND'),
  ]);
}

export function chunk(type: string, content = Buffer.alloc(0)): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}
