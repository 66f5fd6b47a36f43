import { expect, test } from 'vitest';
import { ago, counted, cut, duration, size, table, withoutEmptyColumns } from '../../cli/words.ts';

test('a table fits its terminal, whatever its cells hold', () => {
  const rows = [
    ['NAME', 'BRANCH', 'COMMIT'],
    ['b_1', '東京', 'a\u001b[31m red\u001b[0m one\r\nwith a second line'],
    ['b_22', 'x'.repeat(50), '👩‍👩‍👧 of a family'],
  ];
  expect(table(rows, 70)).toBe(`NAME  BRANCH                                    COMMIT
b_1   東京                                      a red one with a seco…
b_22  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  👩‍👩‍👧 of a family
`);
  expect(table(rows, 8)).toBe('NAME  B…\nb_1   …\nb_22  x…\n');
  expect(table([], 80)).toBe('');
  const sparse = [
    ['A', 'B', 'C'],
    ['1', '', '3'],
    ['1', '', ''],
  ];
  expect(withoutEmptyColumns(sparse)).toEqual([
    ['A', 'C'],
    ['1', '3'],
    ['1', ''],
  ]);
});

test('sizes, times and counts read as people write them', () => {
  expect([0, 999, 4_200, 999_499, 1_000_000, 3_210_000_000].map(size)).toEqual([
    ...['0 B', '999 B', '4.2 kB', '999.5 kB', '1.0 MB', '3.2 GB'],
  ]);
  expect([-5, 0, 400, 59_600, 200_000, 3_600_000, 3_660_000, 90_000_000].map(duration)).toEqual([
    ...['0 s', '0 s', '0 s', '1 min', '3 min 20 s', '1 h', '1 h 1 min', '1 d 1 h'],
  ]);
  const now = Date.parse('2026-11-29T12:00:00Z');
  expect(['2026-11-29T12:00:05Z', '2026-11-29T11:58:01Z', '2026-11-27T12:00:00Z'].map((one) => ago(one, now))).toEqual([
    ...['0 s ago', '1 min ago', '2 d ago'],
  ]);
  expect([cut('東京都', 5), cut('abc', 3), cut('abcd', 3), cut('a', 0)]).toEqual(['東京…', 'abc', 'ab…', '']);
  expect([counted(1, 'build'), counted(2, 'build')]).toEqual(['1 build', '2 builds']);
});
