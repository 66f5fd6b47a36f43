import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LogMask, needlesOf } from '../../../worker-agent/build-log/mask.ts';

const SECRET = 'hunter2-hunter2!';
const mask = (
  text: string | Buffer,
  env: Record<string, string> = { TOKEN: SECRET },
  cut = Number.POSITIVE_INFINITY,
) => {
  const bytes = Buffer.from(text);
  const masking = new LogMask(needlesOf({ env }));
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += cut) out.push(masking.push(bytes.subarray(at, at + cut)));
  out.push(masking.end());
  expect(masking.takenBytes).toBe(bytes.length);
  return Buffer.concat(out);
};

test('a secret is hidden wherever it stands', () => {
  expect(mask(`${SECRET} a ${SECRET}${SECRET}\n`).toString()).toBe('*** a ******\n');
});

test('its base64 form is hidden at each of its three places', () => {
  for (const before of ['', 'a', 'ab', 'abc', 'user:', 'longer user:'])
    for (const after of ['', 'x', 'yz', '\n']) {
      const encoded = Buffer.from(before + SECRET + after).toString('base64');
      const masked = mask(`Authorization: Basic ${encoded} -`).toString();
      expect(masked).toContain('***');
      // No part of the secret can be decoded. At most the characters stay that a neighbour decides too.
      expect(masked.length).toBeLessThan(
        `Authorization: Basic  -***`.length + Math.ceil(((before + after).length * 8) / 6) + 5,
      );
    }
});

test('cut into reads of any size, the outcome is the same', () => {
  const encoded = Buffer.from(`u:${SECRET}`).toString('base64');
  const text = `${SECRET}\r\n\x1b[31mred\x1b[0m ${encoded} hunter2-hunter hunter2-hunter2 ${SECRET}`;
  const whole = mask(text);
  for (let cut = 1; cut <= text.length; cut++) expect(mask(text, undefined, cut).equals(whole)).toBe(true);
});

test('all other bytes stay as they were', () => {
  const bytes = Buffer.concat([
    Buffer.from('\x1b[1;31mcolour\x1b[0m\r50%\r100%\n'),
    Buffer.from([0xff, 0xfe, 0x00, 0x80, 0xc3]),
    Buffer.from(`${'long '.repeat(2_200)}\n`),
    randomBytes(100_000),
  ]);
  for (const cut of [1, 7, 4096, Number.POSITIVE_INFINITY])
    expect(mask(bytes, undefined, cut).equals(bytes)).toBe(true);
});

test('overlapping secrets are hidden as one, a longer one before its beginning', () => {
  expect(mask('abcdefghijkl.', { A_KEY: 'abcdefgh', B_KEY: 'efghijkl' }).toString()).toBe('***.');
  expect(mask('abcdefghij.', { A_KEY: 'abcdefgh', B_KEY: 'abcdefghij' }).toString()).toBe('***.');
  expect(mask('abcdefghi.', { A_KEY: 'abcdefgh', B_KEY: 'abcdefghij' }, 1).toString()).toBe('***i.');
});

test('a value of several lines is hidden line by line', () => {
  const key = '-----BEGIN-----\nMIGTAgEAMBMGByqGSM49\r\nAwEHBHkwdwIBAQQg\n';
  expect(mask('cat: MIGTAgEAMBMGByqGSM49\nAwEHBHkwdwIBAQQg\n', { KEY: key }).toString()).toBe('cat: ***\n***\n');
});

test('the lines and the base64 form of a secret file are hidden', () => {
  const file = Buffer.concat([Buffer.from('MIGTAgEAMBMGByqGSM49\n'), randomBytes(3_000)]);
  const secretFiles = { 'AuthKey.p8': file.toString('base64') };
  const masking = new LogMask(needlesOf({ env: {}, secretFiles }));
  const out = Buffer.concat([
    masking.push(Buffer.from(`MIGTAgEAMBMGByqGSM49 ${file.toString('base64')}.`)),
    masking.end(),
  ]);
  expect(out.toString()).toMatch(/^\*\*\* (\*\*\*)+[\w+/=]{0,4}\.$/);
});

test('short values and what Expo makes public are not secrets', () => {
  expect(
    mask('CI=true https://api.example.com', { CI: 'true', EXPO_PUBLIC_API: 'https://api.example.com' }).toString(),
  ).toBe('CI=true https://api.example.com');
});

test('of variables that are told apart only the secret ones are masked, whatever their names are', () => {
  const env = { NODE_ENV: 'production', API_TOKEN: 'not-a-secret-token', WORD: 'a-long-secret-word' };
  const masking = new LogMask(needlesOf({ env, secretNames: ['WORD'] }));
  const text = 'production not-a-secret-token a-long-secret-word.\n';
  expect(masking.push(Buffer.from(text)).toString()).toBe('production not-a-secret-token ***.\n');
});

test.each([
  ['NODE_ENV', 'production', false],
  ['KEYBOARD', 'qwertzuiop', false],
  ['npm_config_loglevel', 'verbose-1', false],
  ['API_KEY', 'shortkey', true],
  ['apiKey', 'shortkey', true],
  ['GITHUB_TOKEN', 'shorttok', true],
  ['FASTLANE_PASSWORD', 'pass-word', true],
  ['SENTRY_DSN', 'https://s', true],
  ['EXPO_WORD', 'abcd-efgh-ijkl-mnop', true],
])('of variables that nobody told apart, %s=%s is masked: %s', (name, value, masked) => {
  expect(mask(`${value}\n`, { [name]: value }).toString()).toBe(masked ? '***\n' : `${value}\n`);
});

test('the end of a line is not held back', () => {
  const masking = new LogMask(needlesOf({ env: { TOKEN: SECRET } }));
  expect(masking.push(Buffer.from('Archive succeeded\n')).toString()).toBe('Archive succeeded\n');
  expect(masking.push(Buffer.from('password: hunter2')).toString()).toBe('password: ');
  expect([masking.takenBytes, masking.readBytes]).toEqual([28, 35]);
  expect(masking.push(Buffer.from('\n')).toString()).toBe('hunter2\n');
});

test('whatever the bytes and the cuts: no secret comes out, and one that reads on after a crash agrees', () => {
  const piece = fc.oneof(fc.constantFrom(SECRET, SECRET.slice(0, 9), 'abababab', 'abab', '\r\n'), fc.string());
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(30), { minLength: 1 }), fc.nat(), (pieces, cuts, crash) => {
      const bytes = Buffer.from(pieces.join(''));
      const needles = needlesOf({ env: { A_KEY: SECRET, B_KEY: 'abababab' } });
      let masking = new LogMask(needles);
      let out = Buffer.alloc(0);
      for (let i = 0; masking.readBytes < bytes.length; i++) {
        const from = masking.readBytes;
        out = Buffer.concat([out, masking.push(bytes.subarray(from, from + 1 + cuts[i % cuts.length]!))]);
        if (i === crash % 7) masking = new LogMask(needles, masking.takenBytes);
      }
      out = Buffer.concat([out, masking.end()]);
      expect(out.includes(SECRET)).toBe(false);
      expect(out.equals(mask(bytes, { A_KEY: SECRET, B_KEY: 'abababab' }))).toBe(true);
    }),
  );
});
