import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RESET_COLOURS, TerminalFilter } from '../../client/terminal-filter.ts';

/** The output of the filter for these pieces, without the reset at the end. */
function filtered(...pieces: (string | Uint8Array)[]): string {
  const filter = new TerminalFilter();
  const out = pieces.map((piece) => filter.push(typeof piece === 'string' ? Buffer.from(piece) : piece)).join('');
  const end = filter.end();
  expect(end.endsWith(RESET_COLOURS)).toBe(true);
  return out + end.slice(0, -RESET_COLOURS.length);
}

test.each([
  ['text', 'grüße 日本 🙂\r\n\tx\b \x07', 'grüße 日本 🙂\r\n\tx\b \x07'],
  ['colours', '\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx\x1b[m', '\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mx\x1b[m'],
  ['the clipboard (OSC 52)', 'a\x1b]52;c;aGk=\x07b\x1b]52;c;aGk=\x1b\\c', 'abc'],
  ['a title, and the order to say it', '\x1b]0;rm -rf\x07\x1b[21ta', 'a'],
  ['orders that a terminal answers', '\x1b[6n\x1b[c\x1b[>c\x1b[5n\x1bZ\x05a', 'a'],
  ['the cursor and the screen', '\x1b[2J\x1b[1;1H\x1b[?1049h\x1b7\x1bca\x1b[K', 'a'],
  ['keys that are sent otherwise', '\x1b[>4;2ma\x1b[?4m\x1b[1 qb', 'ab'],
  ['DCS, APC, PM, SOS', '\x1bP$qm\x1b\\a\x1b_G\x1b\\b\x1b^x\x1b\\c\x1bXx\x1b\\d', 'abcd'],
  ['orders as one character, in UTF-8', 'a\u009b2J\u009d52;c;x\u009cb\u0090x\u009cc\u0085', 'abc'],
  ['a colour as one character', '\u009b31ma', '\x1b[31ma'],
  ['other character sets', '\x1b(0a\x1b)Bb\x1b#8c', 'abc'],
  ['marks of direction', 'a\u202e\u2066\u200fb\u2028c', 'abc'],
  ['an order that another ends', '\x1b[3\x1b[31ma\x1b]0;x\x1b[32mb\x1b[1\x18c', '\x1b[31ma\x1b[32mbc'],
  ['a control character in an order', '\x1b[3\n1ma', '\n\x1b[31ma'],
])('%s', (_what, given, expected) => {
  expect(filtered(given)).toBe(expected);
});

test('bytes that are no UTF-8 are not passed on, so that no terminal takes them for orders', () => {
  expect(filtered(Buffer.from([0x61, 0x9b, 0x32, 0x4a, 0xff]))).toBe('a\ufffd2J\ufffd');
});

test('a text for the terminal that never ends hides no more than a page, and an order no more than itself', () => {
  expect(filtered(`\x1b]0;${'x'.repeat(10_000)}end`)).toMatch(/^x+end$/);
  expect(filtered(`\x1b[${'1'.repeat(1_000)}mend`)).toMatch(/^1+mend$/);
});

const order = fc.oneof(
  fc.constantFrom('\x1b', '\x1b[', '\x1b]', '\x1bP', '\x1b\\', '\u009b', '\u009d', '\u009c', '\x07', '\x18', ';', ':'),
  fc.constantFrom('m', '31', '?', '>', ' ', 'n', 'c', '\x1b[31m', '\x1b]52;c;aGk=\x07', '\n', 'é', '🙂'),
  fc.string({ unit: 'binary', maxLength: 4 }),
);
const output = fc.array(order, { maxLength: 60 }).map((parts) => Buffer.from(parts.join('')));

test('what comes out does not depend on how the bytes were cut', () => {
  fc.assert(
    fc.property(output, fc.array(fc.nat({ max: 200 }), { maxLength: 20 }), (bytes, cuts) => {
      const at = [...new Set(cuts.map((cut) => Math.min(cut, bytes.length)))].sort((a, b) => a - b);
      const pieces = [...at, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : at[index - 1], end));
      expect(filtered(...pieces)).toBe(filtered(bytes));
      expect(filtered(...[...bytes].map((byte) => Uint8Array.of(byte)))).toBe(filtered(bytes));
    }),
    { numRuns: 1_000 },
  );
});

test('whatever comes in, only text, a few controls and whole colours come out, and they pass again as they are', () => {
  const harmless =
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /^(\x1b\[[0-9;:]*m|[\x07\x08\t\n\r]|[^\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])*$/u;
  const anyBytes = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(output, anyBytes), (bytes) => {
      const out = filtered(bytes);
      expect(out).toMatch(harmless);
      expect(filtered(out)).toBe(out);
    }),
    { numRuns: 2_000 },
  );
});

test('text without orders is left as it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme-ascii' }), (text) => {
      expect(filtered(text)).toBe(text);
    }),
  );
});
