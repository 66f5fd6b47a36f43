/** Reads provisioning profiles that OpenSSL signed, and such as Apple would never write. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { build } from 'plist';
import { expect, test } from 'vitest';
import { parsePropertyList } from '../../../client/signing/property-list.ts';
import { fits, PROFILE_MAX_BYTES, readProfile } from '../../../client/signing/provisioning-profile.ts';
import { testWith } from '../../set-up/test-with.ts';
import {
  BUNDLE_ID,
  type Identity,
  makeIdentity,
  makeList,
  makeProfile,
  problemIn,
  signList,
  TEAM,
  valueIn,
} from './material.ts';

const withOpenssl = testWith('openssl');
let made: Identity | undefined;
const identity = () => (made ??= makeIdentity());
const DAMAGED = /^`app\.mobileprovision` is not a provisioning profile, or it is damaged: download .+\.$/;
const read = (content: Buffer) => readProfile('app.mobileprovision', content);

withOpenssl('a profile tells its name, team, end, app, certificates and kind', () => {
  const expires = new Date('2031-02-03T04:05:06Z');
  for (const kind of ['development', 'ad-hoc', 'app-store', 'enterprise'] as const)
    expect(valueIn(read(makeProfile(identity(), { kind, expires, name: 'Süd & <b>' })))).toEqual({
      uuid: '0e9e3a5c-3a4f-4c41-9d0f-2f6f0a3b8c11',
      name: 'Süd & <b>',
      team: TEAM,
      expires,
      bundleId: BUNDLE_ID,
      certificates: new Set([identity().sha1]),
      kind,
      devices: kind === 'ad-hoc' || kind === 'development' ? 1 : null,
    });
});

withOpenssl('a message in pieces of unknown length is read as well', () => {
  const certificates = Array.from({ length: 40 }, () => randomBytes(1500));
  const pieces = signList(makeList({ certificates }), identity(), ['-stream']);
  expect(pieces.subarray(0, 2)).toEqual(Buffer.from([0x30, 0x80]));
  expect(valueIn(read(pieces)).certificates.size).toBe(40);
});

withOpenssl('a profile fits its own app, or with a star all that begin so', () => {
  const fitting = (bundleId: string) =>
    ['com.example.app', 'com.example.app.widget', 'com.example', 'org.example.app'].filter((app) =>
      fits(valueIn(read(makeProfile(identity(), { bundleId }))), app),
    );
  expect(fitting('com.example.app')).toEqual(['com.example.app']);
  expect(fitting('com.example.*')).toEqual(['com.example.app', 'com.example.app.widget']);
  expect(fitting('*')).toHaveLength(4);
  expect(fitting('com.example.app.*')).toEqual(['com.example.app.widget']);
});

const wrapped = (body: string) => `<?xml version="1.0"?>\n<plist version="1.0">\n${body}\n</plist>\n`;
const many = (text: string) => text.repeat(Math.floor((PROFILE_MAX_BYTES - 20_000) / text.length));

withOpenssl('lists that are bombs are refused', () => {
  const lists = [
    `<!DOCTYPE plist [<!ENTITY a "${'b'.repeat(9999)}">]>${wrapped(`<string>${many('&a;')}</string>`)}`,
    wrapped(many('<array>')),
    wrapped(`${'<array>'.repeat(60_000)}${'</array>'.repeat(60_000)}`),
    wrapped(many('<')),
    wrapped(many('<!--')),
    wrapped(many('<![CDATA[')),
    wrapped(many('&amp;')),
    wrapped(`<dict ${many('a="b" ')}></dict>`),
    wrapped(`<array>${many('<true/>')}</array>`),
    wrapped('<dict><key>__proto__</key><dict><key>UUID</key><string>x</string></dict></dict>'),
    wrapped('<dict></dict>'),
    wrapped(''),
    'no list',
    makeList({}).replaceAll('<date>', '<date>never'),
    makeList({}).replace('<key>Entitlements</key>', '<key>Other</key>'),
    makeList({}).replace('<array>', '<string>').replace('</array>', '</string>'),
  ];
  for (const list of lists) expect(problemIn(read(signList(list, identity())))).toMatch(DAMAGED);
});

withOpenssl('damaged, cut, huge and random files are refused in a sentence', () => {
  const whole = makeProfile(identity());
  expect(problemIn(read(Buffer.alloc(PROFILE_MAX_BYTES + 1)))).toContain('1048577 bytes');
  const nested = [
    [0x30, 0x80],
    [0x05, 0x00],
    [0x24, 0x80],
  ].map((bytes) => Buffer.concat([Buffer.from([0x30, 0x80]), Buffer.alloc(PROFILE_MAX_BYTES - 2, Buffer.from(bytes))]));
  const rest = [Buffer.alloc(0), randomBytes(9999), Buffer.from(makeList({})), identity().der, ...nested];
  for (const content of rest) expect(problemIn(read(content))).toMatch(DAMAGED);
  fc.assert(
    fc.property(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 4 }), (at, bytes) => {
      expect(problemIn(read(whole.subarray(0, at % whole.length)))).toMatch(DAMAGED);
      const damaged = Buffer.from(whole);
      damaged.set(bytes, at % (damaged.length - 4));
      expect(typeof read(damaged).ok).toBe('boolean');
    }),
    { numRuns: 300 },
  );
});

test('a property list is read as its writer meant it', () => {
  const list = {
    a: 'x & <y>',
    b: [1, -2.5, true, false, '', []],
    c: { d: Buffer.from('bytes'), e: {} },
    f: new Date(0),
  };
  const read = parsePropertyList(build(list));
  const asObject = (value: unknown): unknown =>
    value instanceof Map
      ? Object.fromEntries([...value].map(([key, inner]) => [key, asObject(inner)]))
      : Array.isArray(value)
        ? value.map(asObject)
        : value;
  expect(asObject(read)).toEqual(list);
});
