/**
 * Makes small apps byte by byte, in the forms in which Xcode and Gradle write them: zip archives, property
 * lists, Android's manifests and tables, and icons.
 */
import { crc32, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { chunk } from '../../../worker-agent/app-metadata/png.ts';
import { archiveOf } from '../factories/raw-archive.ts';

const u8 = (...values: number[]) => Buffer.from(values);
const u16 = (value: number) => u8(value & 255, (value >> 8) & 255);
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
const u32be = (value: number) => Buffer.from(u32(value)).swap32();
const u64 = (value: number) => Buffer.concat([u32(value), u32(Math.floor(value / 2 ** 32))]);

// ── Zip ────────────────────────────────────────────────────────────────────────────────────────────────────

export type Files = Record<string, Buffer | string>;

export interface ZipWish {
  /** Lies between the files and the central directory, as the signature of an .apk does. */
  block?: Buffer;
  /** How many files the archive says that it has. */
  entries?: number;
}

export function zip(
  files: Files,
  { block = Buffer.alloc(0), entries = Object.keys(files).length }: ZipWish = {},
): Buffer {
  const [locals, directory]: [Buffer[], Buffer[]] = [[], []];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const content = Buffer.from(text);
    const packed = deflateRawSync(content);
    const named = Buffer.from(name);
    const sizes = [u32(crc32(content)), u32(packed.length), u32(content.length), u16(named.length)];
    const local = Buffer.concat([u32(0x04034b50), u16(20), u16(0), u16(8), u32(0), ...sizes, u16(0), named, packed]);
    const version = [u16(20), u16(20), u16(0), u16(8), u32(0)];
    const rest = [u16(0), u16(0), u16(0), u16(0), u32(0), u32(offset), named];
    directory.push(Buffer.concat([u32(0x02014b50), ...version, ...sizes, ...rest]));
    locals.push(local);
    offset += local.length;
  }
  const list = Buffer.concat(directory);
  const [count, at] = [Math.min(entries, 0xffff), offset + block.length];
  const end64 = Buffer.concat([
    ...[u32(0x06064b50), u64(44), u16(45), u16(45), u32(0), u32(0), u64(entries), u64(entries)],
    ...[u64(list.length), u64(at), u32(0x07064b50), u32(0), u64(at + list.length), u32(1)],
  ]);
  return Buffer.concat([
    ...[...locals, block, list, ...(entries > 0xffff ? [end64] : [])],
    ...[u32(0x06054b50), u32(0), u16(count), u16(count), u32(list.length), u32(at), u16(0)],
  ]);
}

// ── Property lists ─────────────────────────────────────────────────────────────────────────────────────────

export type Plist = string | boolean | number | Plist[] | { [key: string]: Plist };

export const xmlPlist = (list: Plist): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0">\n${element(list)}\n</plist>\n`;

function element(value: Plist): string {
  if (typeof value === 'boolean') return `<${value}/>`;
  if (typeof value === 'number') return `<integer>${value}</integer>`;
  if (typeof value === 'string') return `<string>${value.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</string>`;
  if (Array.isArray(value)) return `<array>${value.map(element).join('')}</array>`;
  const members = Object.entries(value).map(([key, member]) => `<key>${key}</key>${element(member)}`);
  return `<dict>${members.join('')}</dict>`;
}

export function binaryPlist(list: Plist): Buffer {
  const objects: Buffer[] = [];
  const sized = (kind: number, size: number) =>
    size < 15 ? u8((kind << 4) | size) : u8((kind << 4) | 15, 0x11, size >> 8, size & 255);
  const add = (value: Plist): number => {
    const index = objects.push(Buffer.alloc(0)) - 1;
    const references = (values: Plist[]) => Buffer.concat(values.map((member) => u16(add(member)).swap16()));
    if (typeof value === 'boolean') objects[index] = u8(value ? 9 : 8);
    else if (typeof value === 'number') objects[index] = Buffer.concat([u8(0x12), u32be(value)]);
    else if (typeof value === 'string') {
      const isPlain = /^[\x20-\x7e]*$/.test(value);
      const text = isPlain ? Buffer.from(value, 'latin1') : Buffer.from(value, 'utf16le').swap16();
      objects[index] = Buffer.concat([sized(isPlain ? 5 : 6, value.length), text]);
    } else if (Array.isArray(value)) objects[index] = Buffer.concat([sized(10, value.length), references(value)]);
    else {
      const entries = Object.entries(value);
      const keys = references(entries.map(([key]) => key));
      const values = references(entries.map(([, member]) => member));
      objects[index] = Buffer.concat([sized(13, entries.length), keys, values]);
    }
    return index;
  };
  add(list);
  return withTable(objects);
}

/** Puts objects of a binary list together, the first as the whole. */
export function withTable(objects: Buffer[]): Buffer {
  let at = 8;
  const offsets = objects.map((object) => {
    at += object.length;
    return u32be(at - object.length);
  });
  const trailer = Buffer.concat([Buffer.alloc(6), u8(4, 2), ...[objects.length, 0, at].map(u64be)]);
  return Buffer.concat([Buffer.from('bplist00'), ...objects, ...offsets, trailer]);
}

const u64be = (value: number) => Buffer.from(u64(value)).swap64();

// ── PNG ────────────────────────────────────────────────────────────────────────────────────────────────────

export type Rgba = readonly [number, number, number, number];

/** A PNG of one colour. `apples`: in Apple's form, as Xcode writes it. */
export function png([red, green, blue, opacity]: Rgba, side: number, { apples = false, claims = side } = {}): Buffer {
  const times = (value: number) => Math.round((value * opacity) / 255);
  const pixel = apples ? u8(times(blue), times(green), times(red), opacity) : u8(red, green, blue, opacity);
  const row = Buffer.concat([u8(0), ...Array.from({ length: side }, () => pixel)]);
  const rows = Buffer.concat(Array.from({ length: side }, () => row));
  const header = Buffer.concat([u32be(claims), u32be(claims), u8(8, 6, 0, 0, 0)]);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    ...(apples ? [chunk('CgBI', u8(0x50, 0, 0x20, 2))] : []),
    chunk('IHDR', header),
    chunk('IDAT', apples ? deflateRawSync(rows) : deflateSync(rows)),
    chunk('IEND'),
  ]);
}

// ── iOS ────────────────────────────────────────────────────────────────────────────────────────────────────

export const INFO = {
  CFBundleIdentifier: 'com.example.shop',
  CFBundleDisplayName: 'Shop & Café',
  CFBundleShortVersionString: '1.4.0',
  CFBundleVersion: '42',
  MinimumOSVersion: '15.1',
  CFBundleSupportedPlatforms: ['iPhoneOS'],
  ITSAppUsesNonExemptEncryption: false,
  CFBundleIcons: { CFBundlePrimaryIcon: { CFBundleIconFiles: ['AppIcon60x60'] } },
} satisfies Plist;

export const ICON_COLOUR: Rgba = [200, 100, 50, 128];

/** The files of an app of iOS. A profile makes it a signed one. */
export const iosFiles = ({ info = INFO as Plist, profile = null as Buffer | null, binary = true } = {}): Files => ({
  'Info.plist': binary ? binaryPlist(info) : xmlPlist(info),
  'AppIcon60x60@2x.png': png(ICON_COLOUR, 120, { apples: true }),
  'AppIcon60x60@3x.png': png(ICON_COLOUR, 180, { apples: true }),
  'main.jsbundle': 'x'.repeat(1_000),
  ...(profile && { 'embedded.mobileprovision': profile, '_CodeSignature/CodeResources': 'sealed' }),
});

const below = (folder: string, files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([name, content]) => [`${folder}/${name}`, content]));

export const ipa = (files: Files): Buffer => zip(below('Payload/Shop.app', files));

/** As `tar -czf - Shop.app` makes it in the VM. */
export const appArchive = (files: Files): Buffer =>
  gzipSync(archiveOf(Object.entries(below('Shop.app', files)).map(([path, body]) => ({ path, body }))));

// ── Android ────────────────────────────────────────────────────────────────────────────────────────────────

const part = (type: number, header: Buffer, body: Buffer) =>
  Buffer.concat([u16(type), u16(8 + header.length), u32(8 + header.length + body.length), header, body]);

function stringPool(strings: readonly string[]): Buffer {
  const texts = strings.map((text) => {
    const bytes = Buffer.from(text);
    return Buffer.concat([u8(text.length, bytes.length), bytes, u8(0)]);
  });
  let at = 0;
  const offsets = texts.map((text) => {
    at += text.length;
    return u32(at - text.length);
  });
  const header = [strings.length, 0, 0x100, 28 + 4 * strings.length, 0].map(u32);
  return part(1, Buffer.concat(header), Buffer.concat([...offsets, ...texts]));
}

/** A number, a truth, a text, or the id of a resource. */
export type Attribute = number | boolean | string | { resource: number };
export const ATTRIBUTE_IDS: Record<string, number> = {
  versionCode: 0x0101021b,
  versionName: 0x0101021c,
  minSdkVersion: 0x0101020c,
  label: 0x01010001,
  icon: 0x01010002,
  debuggable: 0x0101000f,
};

export interface AndroidElement {
  name: string;
  attributes: Record<string, Attribute>;
  children?: AndroidElement[];
}

export const MANIFEST: AndroidElement = {
  name: 'manifest',
  attributes: { versionCode: 42, versionName: '1.4.0', package: 'com.example.shop' },
  children: [
    { name: 'uses-sdk', attributes: { minSdkVersion: 24 } },
    {
      name: 'application',
      attributes: { label: { resource: 0x7f010000 }, icon: { resource: 0x7f020000 }, debuggable: true },
      children: [{ name: 'activity', attributes: { label: 'not this one' } }],
    },
  ],
};

export function binaryXml(root: AndroidElement): Buffer {
  const withIds = Object.keys(ATTRIBUTE_IDS);
  const strings = [...withIds];
  const indexOf = (text: string) => (strings.includes(text) ? strings.indexOf(text) : strings.push(text) - 1);
  const typedValue = (value: Attribute): Buffer => {
    if (typeof value === 'number') return Buffer.concat([u16(8), u8(0, 0x10), u32(value)]);
    if (typeof value === 'boolean') return Buffer.concat([u16(8), u8(0, 0x12), u32(value ? 0xffffffff : 0)]);
    if (typeof value === 'string') return Buffer.concat([u16(8), u8(0, 3), u32(indexOf(value))]);
    return Buffer.concat([u16(8), u8(0, 1), u32(value.resource)]);
  };
  const none = u32(0xffffffff);
  const place = Buffer.concat([u32(1), none]);
  const write = ({ name, attributes, children = [] }: AndroidElement): Buffer => {
    const members = Object.entries(attributes).map(([key, value]) =>
      Buffer.concat([none, u32(indexOf(key)), none, typedValue(value)]),
    );
    const start = [none, u32(indexOf(name)), u16(20), u16(20), u16(members.length), u16(0), u16(0), u16(0), ...members];
    const end = Buffer.concat([none, u32(indexOf(name))]);
    return Buffer.concat([part(0x102, place, Buffer.concat(start)), ...children.map(write), part(0x103, place, end)]);
  };
  const body = write(root);
  const ids = part(0x180, Buffer.alloc(0), Buffer.concat(withIds.map((name) => u32(ATTRIBUTE_IDS[name]!))));
  return part(3, Buffer.alloc(0), Buffer.concat([stringPool(strings), ids, body]));
}

/** One resource: its values by language, '' for the usual one. A number is the id of another resource. */
export type Resource = Record<string, string | number>;

/** Types 1, 2, … of package 0x7f, each with resources 0, 1, … */
export function resourceTable(types: Resource[][]): Buffer {
  const strings: string[] = [];
  const chunks = types.flatMap((resources, type) => {
    const languages = [...new Set(resources.flatMap((resource) => Object.keys(resource)))];
    return languages.map((language) => {
      const entries: Buffer[] = [];
      const offsets = resources.map((resource) => {
        const value = resource[language];
        if (value === undefined) return u32(0xffffffff);
        const data = typeof value === 'number' ? [u8(0, 1), u32(value)] : [u8(0, 3), u32(strings.push(value) - 1)];
        return u32(16 * (entries.push(Buffer.concat([u16(8), u16(0), u32(0), u16(8), ...data])) - 1));
      });
      const config = Buffer.concat([u32(32), u32(0), Buffer.from(language.padEnd(4, '\0')), Buffer.alloc(20)]);
      const start = 8 + 12 + config.length + 4 * offsets.length;
      const header = Buffer.concat([u8(type + 1, 0), u16(0), u32(offsets.length), u32(start), config]);
      return part(0x201, header, Buffer.concat([...offsets, ...entries]));
    });
  });
  const inPackage = part(0x200, Buffer.concat([u32(0x7f), Buffer.alloc(276)]), Buffer.concat(chunks));
  return part(2, u32(1), Buffer.concat([stringPool(strings), inPackage]));
}

export const RESOURCES: Resource[][] = [
  [{ 'de\0\0': 'Laden', '': 0x7f010001 }, { '': 'Shop & Café' }],
  [{ '': 'res/mipmap-mdpi/ic.png', 'xx\0\0': 'res/mipmap-xxxhdpi/ic.webp', 'yy\0\0': 'res/mipmap-anydpi-v26/ic.xml' }],
];

// Protobuf
const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
    left >>= 7n;
  } while (left > 0n);
  return Buffer.from(bytes);
};
const field = (number: number, value: number | string | Buffer): Buffer => {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
};
const message = (...fields: Buffer[]) => Buffer.concat(fields);

export function bundleXml({ name, attributes, children = [] }: AndroidElement): Buffer {
  const members = Object.entries(attributes).map(([key, value]) => {
    const id = ATTRIBUTE_IDS[key];
    const item =
      typeof value === 'object'
        ? field(1, field(2, value.resource))
        : field(7, typeof value === 'number' ? field(6, value) : field(8, value ? 1 : 0));
    const said = typeof value === 'string' ? field(3, value) : field(6, item);
    return field(4, message(field(2, key), said, ...(id === undefined ? [] : [field(5, id)])));
  });
  return field(1, message(field(3, name), ...members, ...children.map((child) => field(5, bundleXml(child)))));
}

export function bundleResources(types: Resource[][]): Buffer {
  const written = types.map((resources, type) => {
    const entries = resources.map((resource, index) => {
      const values = Object.entries(resource).map(([language, value]) => {
        const item = typeof value === 'number' ? field(1, field(2, value)) : field(type === 0 ? 2 : 5, field(1, value));
        return field(6, message(field(1, field(3, language)), field(2, field(4, item))));
      });
      return field(3, message(field(1, field(1, index)), ...values));
    });
    return field(3, message(field(1, field(1, type + 1)), ...entries));
  });
  return field(2, message(field(1, field(1, 0x7f)), ...written));
}

const androidIcons = (): Files => ({
  'res/mipmap-mdpi/ic.png': png([1, 2, 3, 255], 48),
  // Expo gives its pictures this ending, whatever is in them.
  'res/mipmap-xxxhdpi/ic.webp': png([9, 8, 7, 255], 192),
  'res/mipmap-anydpi-v26/ic.xml': 'drawn',
});

export const apk = (more: Files = {}, options: ZipWish = {}): Buffer =>
  zip(
    {
      'AndroidManifest.xml': binaryXml(MANIFEST),
      'resources.arsc': resourceTable(RESOURCES),
      ...androidIcons(),
      ...more,
    },
    options,
  );

export const aab = (more: Files = {}): Buffer =>
  zip({
    'base/manifest/AndroidManifest.xml': bundleXml(MANIFEST),
    'base/resources.pb': bundleResources(RESOURCES),
    ...below('base', androidIcons()),
    ...more,
  });

/** The block of scheme 2, in which a certificate has signed. */
export function signatureBlock(certificate: Buffer): Buffer {
  const sized = (bytes: Buffer) => Buffer.concat([u32(bytes.length), bytes]);
  const signed = Buffer.concat([sized(Buffer.from('digests')), sized(sized(certificate)), u32(0)]);
  const value = sized(sized(sized(signed)));
  const other = Buffer.concat([u64(8), u32(0x42726577), u32(0)]);
  const pairs = Buffer.concat([other, u64(4 + value.length), u32(0x7109871a), value]);
  const length = u64(pairs.length + 24);
  return Buffer.concat([length, pairs, length, Buffer.from('APK Sig Block 42')]);
}
