import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, inflateSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { childFlags, readAppInChild } from '../../../worker-agent/app-metadata/app-child.ts';
import { Budget, ENTRIES_MAX, Unreadable } from '../../../worker-agent/app-metadata/budget.ts';
import type { OpenFile } from '../../../worker-agent/app-metadata/open-file.ts';
import { commonPng } from '../../../worker-agent/app-metadata/png.ts';
import { readApp } from '../../../worker-agent/app-metadata/read-app.ts';
import type { AppKind, Said } from '../../../worker-agent/app-metadata/said.ts';
import { makeIdentity, makeProfile, signList } from '../../client/signing/material.ts';
import { testWith } from '../../set-up/test-with.ts';
import { archiveOf } from '../factories/raw-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import {
  aab,
  apk,
  appArchive,
  binaryPlist,
  ICON_COLOUR,
  INFO,
  iosFiles,
  ipa,
  type Plist,
  png,
  signatureBlock,
  withTable,
  xmlPlist,
  zip,
} from './app-files.ts';

const withOpenssl = testWith('openssl');
const dir = temporaryDir();
afterAll(() => dir[Symbol.dispose]());
const signal = new AbortController().signal;
/** The machine of the tests may be busy. */
const TIME_MS = 60_000;

/** Reads by the child process, as the agent does. */
function read(kind: AppKind, bytes: Buffer, limitMs = TIME_MS) {
  const path = join(dir.path, 'artifact');
  writeFileSync(path, bytes);
  return readAppInChild(kind, path, signal, limitMs);
}

/** Reads by the same code in this process, which is cheaper. */
function readHere(kind: AppKind, bytes: Buffer): Promise<Said | null> {
  const file: OpenFile = {
    size: bytes.length,
    read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) throw new Unreadable('cut off');
      return bytes.subarray(offset, offset + length);
    },
  };
  return readApp(kind, { file, stream: () => Readable.from([bytes]) as AsyncIterable<Buffer> }, new Budget());
}

const withInfo = (more: Record<string, Plist>) => iosFiles({ info: { ...INFO, ...more } });

test('an app says the same of itself in each form', { timeout: 4 * TIME_MS }, async () => {
  const common = { name: 'Shop & Café', id: 'com.example.shop', version: '1.4.0', buildNumber: '42', icon: null };
  const none = { signing: 'unsigned', profileExpiresAt: null, devices: null };
  const ios = { platform: 'ios', minimumSystem: '15.1', usesNonExemptEncryption: false, debuggable: null, ...none };
  const android = {
    platform: 'android',
    minimumSystem: '24',
    usesNonExemptEncryption: null,
    debuggable: true,
    ...none,
  };
  const files: [AppKind, Buffer, object, Buffer][] = [
    ['ipa', ipa(iosFiles()), ios, png(ICON_COLOUR, 180, { apples: true })],
    ['app', appArchive(iosFiles({ binary: false })), ios, png(ICON_COLOUR, 180, { apples: true })],
    ['apk', apk(), android, png([9, 8, 7, 255], 192)],
    ['aab', aab(), android, png([9, 8, 7, 255], 192)],
  ];
  for (const [kind, bytes, expected, picture] of files)
    expect(await read(kind, bytes)).toEqual({
      ok: true,
      app: { kind, ...common, ...expected },
      icon: commonPng(picture, new Budget()),
    });
});

withOpenssl('the kind of signing is that of the profile, or of the certificate', async () => {
  const signer = makeIdentity();
  const expires = new Date('2027-03-01T10:00:00Z');
  const ofIos = async (files: Parameters<typeof iosFiles>[0]) => {
    const said = await readHere('ipa', ipa(iosFiles(files)));
    return [said?.signing, said?.profileExpiresAt, said?.devices];
  };
  const at = expires.toISOString();
  const withProfile = (kind: 'app-store' | 'ad-hoc' | 'development' | 'enterprise') =>
    ofIos({ profile: makeProfile(signer, { kind, expires }) });
  expect(await withProfile('app-store')).toEqual(['app-store', at, null]);
  expect(await withProfile('enterprise')).toEqual(['enterprise', at, null]);
  expect(await withProfile('ad-hoc')).toEqual(['ad-hoc', at, 1]);
  expect(await withProfile('development')).toEqual(['development', at, 1]);
  expect(await ofIos({ profile: Buffer.from('no profile') })).toEqual([null, null, null]);
  expect(await ofIos({ info: { ...INFO, CFBundleSupportedPlatforms: ['iPhoneSimulator'] } })).toEqual([
    ...['simulator', null, null],
  ]);
  expect(await readHere('ipa', ipa(withInfo({ CFBundleSupportedPlatforms: ['AppleTVOS'] })))).toBeNull();

  const debug = (name: string) => {
    const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'key', '-days', '10', '-out', 'pem'];
    execFileSync('openssl', [...made, '-subj', `/C=US/O=Android/CN=${name}`], { cwd: dir.path, stdio: 'ignore' });
    return execFileSync('openssl', ['x509', '-in', 'pem', '-outform', 'DER'], { cwd: dir.path });
  };
  const ofAndroid = async (kind: 'apk' | 'aab', bytes: Buffer) => (await readHere(kind, bytes))?.signing;
  expect(await ofAndroid('apk', apk({}, { block: signatureBlock(debug('Android Debug')) }))).toBe('debug');
  expect(await ofAndroid('apk', apk({}, { block: signatureBlock(debug('Not Android Debug')) }))).toBe('release');
  expect(await ofAndroid('apk', apk({}, { block: signatureBlock(Buffer.from('no certificate')) }))).toBeNull();
  expect(await ofAndroid('aab', aab({ 'META-INF/UPLOAD.RSA': signList('signed', signer) }))).toBe('release');
  expect(await ofAndroid('aab', aab())).toBe('unsigned');
  // All else that the app says is still read.
  const damaged = aab({ 'META-INF/UPLOAD.RSA': Buffer.from('no list') });
  expect(await readHere('aab', damaged)).toEqual({ ...(await readHere('aab', aab())), signing: null });
});

test('Apple’s form of an icon becomes a common one, and a large picture becomes smaller', () => {
  const common = commonPng(png(ICON_COLOUR, 2, { apples: true }), new Budget())!;
  const data = common.subarray(common.indexOf('IDAT') + 4);
  // The first pixel follows the byte that names the filter. The opacity no longer multiplies its colours.
  expect(
    [...inflateSync(data).subarray(1, 5)].map((value, index) => Math.abs(value - ICON_COLOUR[index]!) < 3),
  ).toEqual([...[true, true, true, true]]);
  expect(common.includes('CgBI')).toBe(false);
  expect(() => commonPng(png(ICON_COLOUR, 1, { claims: 65_535 }), new Budget())).toThrow('too large');
});

/** Nested lists: 10 of 10 of 10 …, of which each is written once. */
const laughs = (levels: number): Buffer =>
  withTable([
    Buffer.from([0xd1, 0, 1, 0, 2]),
    Buffer.concat([Buffer.from([0x5f, 0x10, 18]), Buffer.from('CFBundleIdentifier')]),
    ...Array.from({ length: levels }, (_, level) =>
      Buffer.from([0xaa, ...Array.from({ length: 10 }, () => [0, level + 3]).flat()]),
    ),
    Buffer.from([0xa0]),
  ]);

const ENTITIES = `<!DOCTYPE plist [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>`;
const entitled = xmlPlist(INFO).replace('<plist', `${ENTITIES}<plist`).replace('Shop &amp; Café', '&c;&c;&c;');
const HOSTILE: Record<string, [AppKind, Buffer, RegExp]> = {
  'a bomb in the place of Info.plist': [
    'ipa',
    ipa({ 'Info.plist': Buffer.alloc(64 * 1024 * 1024) }),
    /larger than 1048576 bytes/,
  ],
  'a million entries': [
    'ipa',
    zip({ 'Payload/Shop.app/Info.plist': '' }, { entries: 1_000_000 }),
    /more than 100000 files/,
  ],
  'more entries than are there': [
    'ipa',
    zip({ 'Payload/Shop.app/Info.plist': '' }, { entries: ENTRIES_MAX }),
    /out of range/,
  ],
  'lists within lists': ['ipa', ipa({ 'Info.plist': laughs(30) }), /damaged/],
  'a list that contains itself': ['ipa', ipa({ 'Info.plist': withTable([Buffer.from([0xa1, 0, 0])]) }), /damaged/],
  'no zip archive': ['apk', Buffer.alloc(100_000, 'x'), /no zip/],
  'an empty file': ['aab', Buffer.alloc(0), /no zip/],
  'no tar archive': ['app', gzipSync('x'.repeat(10_000)), /no archive/],
  'an archive of many gigabytes': [
    'app',
    gzipSync(archiveOf([{ path: 'Shop.app/large', sizeSaid: 6 * 1024 ** 3 }])),
    /too large/,
  ],
};

test.for(Object.entries(HOSTILE))('%s is not read, and costs no more', async ([, [kind, bytes, why]]) => {
  const before = process.memoryUsage().arrayBuffers;
  await expect(readHere(kind, bytes)).rejects.toThrow(why);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
});

test('entities are not replaced, names are not paths, and texts are single lines', {
  timeout: 3 * TIME_MS,
}, async () => {
  expect(await readHere('ipa', ipa({ 'Info.plist': laughs(15) }))).toMatchObject({ id: null });
  expect(await readHere('ipa', ipa({ ...iosFiles(), 'Info.plist': entitled }))).toMatchObject({ name: '&c;&c;&c;' });
  const wild = {
    CFBundleDisplayName: `Sh\u202eop\u0007\n${'p'.repeat(5_000)}`,
    CFBundleIdentifier: '../../etc/passwd',
  };
  const files = { ...withInfo({ ...wild, CFBundleIconFiles: ['../../../etc/passwd'] }), '../../../../tmp/x.png': 'x' };
  const reading = await read('ipa', ipa(files));
  expect(reading).toMatchObject({ ok: true, app: { id: null, name: `Shop${'p'.repeat(124)}`, version: '1.4.0' } });
  const large = { ...iosFiles(), 'AppIcon60x60@2x.png': png(ICON_COLOUR, 1, { claims: 65_535 }) };
  delete (large as Record<string, unknown>)['AppIcon60x60@3x.png'];
  expect(await read('ipa', ipa(large))).toMatchObject({ ok: true, app: { name: 'Shop & Café' }, icon: null });
});

test('a child that is slow is killed, and the next one works', { timeout: 2 * TIME_MS }, async () => {
  expect(await read('ipa', ipa(iosFiles()), 1)).toEqual({ ok: false, problem: 'it could not be read within 0.001 s' });
  const over = new AbortController();
  const reading = readAppInChild('ipa', join(dir.path, 'artifact'), over.signal);
  over.abort(new Error('the attempt is over'));
  await expect(reading).rejects.toThrow('the attempt is over');
});

test('the child reads no file, starts no process, and has no variables', () => {
  const tries = `
    const tried = (work) => { try { work(); return 'done'; } catch (error) { return error.code; } };
    console.log(JSON.stringify([
      tried(() => require('fs').readFileSync('/etc/passwd')),
      tried(() => require('fs').writeFileSync('/tmp/tartbeat-app-child', '')),
      tried(() => require('child_process').execFileSync('/bin/ls')),
      tried(() => new (require('worker_threads').Worker)('0', { eval: true })),
    ]));`;
  const { stdout } = spawnSync(process.execPath, [...childFlags(), '-e', tries], {
    env: {},
    cwd: '/',
    encoding: 'utf8',
  });
  expect(JSON.parse(stdout)).toEqual(Array(4).fill('ERR_ACCESS_DENIED'));
});

withOpenssl(
  'a thousand damaged apps end in an answer or an error each, and leave no memory behind',
  { timeout: 5 * TIME_MS },
  async () => {
    const profile = makeProfile(makeIdentity());
    const whole: [AppKind, Buffer][] = [
      ['ipa', ipa(iosFiles({ profile }))],
      ['app', appArchive(iosFiles({ profile, binary: false }))],
      ['apk', apk({}, { block: signatureBlock(Buffer.from(makeIdentity().der)) })],
      ['aab', aab({ 'META-INF/UPLOAD.RSA': signList('signed', makeIdentity()) })],
    ];
    const parts: [AppKind, (bytes: Buffer) => Buffer, Buffer][] = [
      ['ipa', (bytes) => ipa({ ...iosFiles(), 'Info.plist': bytes }), binaryPlist(INFO)],
      ['ipa', (bytes) => ipa({ ...iosFiles(), 'AppIcon60x60@3x.png': bytes }), png(ICON_COLOUR, 60, { apples: true })],
      ['ipa', (bytes) => ipa({ ...iosFiles({ profile: bytes }) }), profile],
    ];
    let seed = 1;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    const damaged = (bytes: Buffer): Buffer => {
      const copy = Buffer.from(bytes);
      for (let times = 1 + random(8); times > 0; times--) copy[random(copy.length)] = random(256);
      return random(4) === 0 ? copy.subarray(0, random(copy.length)) : copy;
    };
    global.gc?.();
    const before = process.memoryUsage().arrayBuffers;
    let [answers, errors] = [0, 0];
    for (let round = 0; round < 1_000; round++) {
      const choice = random(whole.length + parts.length);
      const [kind, bytes] =
        choice < whole.length
          ? [whole[choice]![0], damaged(whole[choice]![1])]
          : [
              parts[choice - whole.length]![0],
              parts[choice - whole.length]![1](damaged(parts[choice - whole.length]![2])),
            ];
      await readHere(kind, bytes).then(
        () => answers++,
        () => errors++,
      );
      if (round % 250 !== 0) continue;
      writeFileSync(join(dir.path, 'damaged'), bytes);
      await readAppInChild(kind, join(dir.path, 'damaged'), signal, TIME_MS);
    }
    expect(answers + errors).toBe(1_000);
    expect(Math.min(answers, errors)).toBeGreaterThan(100);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(128 * 1024 * 1024);
  },
);
