import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLineReader } from '../../log-reader/lines.ts';
import { encode } from './factories/logs.ts';

function read(...chunks: (string | Uint8Array)[]): string[] {
  const reader = createLineReader();
  const lines: string[] = [];
  for (const chunk of chunks)
    reader.push(typeof chunk === 'string' ? encode(chunk) : chunk, (line) => lines.push(line));
  return lines;
}

test('a line is complete at its newline, not before', () => {
  expect(read('one\ntw', 'o\nthree')).toEqual(['one', 'two']);
});

test('a carriage return ends a line, so that a redrawn bar is seen each time', () => {
  expect(read('10%\r20%\r', '30%\r\ndone\r\n')).toEqual(['10%', '20%', '30%', 'done']);
});

test('characters cut in two by a chunk are whole again', () => {
  const bytes = encode('› Compiling ❌ 🐥\n');
  for (let cut = 0; cut <= bytes.length; cut++) {
    expect(read(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(['› Compiling ❌ 🐥']);
  }
});

test('colours and titles are removed', () => {
  expect(read('\x1b[1;32m▸\x1b[0m \x1b]0;title\x07Linking\x1b[K\n')).toEqual(['▸ Linking']);
});

test('bytes that are not UTF-8 hide nothing around them', () => {
  expect(read(new Uint8Array([0x61, 0xff, 0xc3, 0x0a, 0x62, 0x0a]))).toEqual(['a\ufffd\ufffd', 'b']);
});

test('of an endless line the start and the end are kept', () => {
  const [line] = read(`CompileC ${'x'.repeat(5_000_000)}`, ` (in target 'Yoga' from project 'Pods')\n`);
  expect(line!.length).toBeLessThan(3_000);
  expect(line).toMatch(/^CompileC x+.*\(in target 'Yoga' from project 'Pods'\)$/);
});

test('however the bytes are cut, the lines are the same', () => {
  const awkward = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom('\r', '\n', '\r\n', '\x1b[31m', '▸ é', '🐥', 'x'.repeat(3_000)).map(encode),
  );
  fc.assert(
    fc.property(fc.array(awkward, { maxLength: 30 }), fc.array(fc.nat(), { maxLength: 30 }), (parts, cuts) => {
      const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
      const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      expect(read(...chunks)).toEqual(read(bytes));
    }),
  );
});
