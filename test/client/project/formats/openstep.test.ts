import { expect, test } from 'vitest';
import { readOpenStep } from '../../../../client/project/formats/openstep.ts';

test('comments, quotes, lists and dictionaries are read, and a dictionary inherits nothing', () => {
  const read = readOpenStep(`// !$*UTF8*$!
  { A1 /* App */ = { name = "My \\"App\\"\\n"; path = ../x-y.z; list = ( a, 'b c', ); empty = ""; }; __proto__ = x; }`);
  expect(JSON.parse(JSON.stringify(read))).toEqual(
    JSON.parse('{"A1":{"name":"My \\"App\\"\\n","path":"../x-y.z","list":["a","b c"],"empty":""},"__proto__":"x"}'),
  );
  expect((read as { toString?: unknown }).toString).toBeUndefined();
});

test.each([['{'], ['{a'], ['{a=b}'], ['{a="b'], ['{a=(b c);}'], ['(,)'], [''], ['='], ['{'.repeat(1_000_000)], ['/*']])(
  '%.20s is null',
  (text) => {
    expect(readOpenStep(text)).toBeNull();
  },
);
