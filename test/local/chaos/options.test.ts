import { expect, test } from 'vitest';
import { HELP, parseChaosOptions, UsageError } from '../../../local/chaos/options.ts';

test('a quarter more builds than faults, unless told', () => {
  expect(parseChaosOptions(['--faults', '40'])).toMatchObject({ faults: 40, builds: 50, seed: 1, kinds: null });
  expect(parseChaosOptions(['--faults', '0']).builds).toBe(1);
  expect(parseChaosOptions(['--builds', '41', '--faults', '40']).builds).toBe(41);
});

test('the file for the result counts from where the user stands', () => {
  expect(parseChaosOptions(['--json', 'out.json'], '/here').jsonPath).toBe('/here/out.json');
  expect(parseChaosOptions([], '/here').jsonPath).toBeNull();
});

test.each(['--builds', '--workers', '--faults', '--seed', '--kinds', '--minutes', '--json', '--keep'])(
  'help tells of %s',
  (name) => {
    expect(HELP).toContain(`  ${name} `);
  },
);

test.each([
  [['--nonsense'], '--nonsense'],
  [['word'], 'word'],
  [['--builds', '3', '--faults', '4'], '4 faults need at least 4 builds'],
  [['--workers', '0'], '--workers: give a whole number from 1 to 64'],
  [['--faults', '-1'], '--faults'],
  [['--seed', '1.5'], '--seed: give a whole number'],
  [['--seed', 'x'], '--seed: give a whole number'],
  [['--minutes', '0'], '--minutes: give a whole number'],
  [['--kinds', 'frozen,fire'], '--kinds: there is no fault fire'],
  [['--json', ''], '--json: give the name of a file'],
])('%j is refused with a word about it', (words, message) => {
  expect(() => parseChaosOptions(words)).toThrow(UsageError);
  expect(() => parseChaosOptions(words)).toThrow(message);
});
