import { expect, test } from 'vitest';
import { HELP, parseSteadyOptions, UsageError } from '../../../local/steady/options.ts';

test('files are taken as they are, and five runs are made unless told', () => {
  expect(parseSteadyOptions(['--load', 'attempt', 'test/local'])).toEqual({
    help: false,
    runs: 5,
    load: true,
    projects: ['controller', 'node'],
    files: ['attempt', 'test/local'],
  });
  expect(parseSteadyOptions(['--runs', '50', '--farm'])).toMatchObject({ runs: 50, projects: ['farm'], files: [] });
  expect(parseSteadyOptions(['--farm', '--programs'])).toMatchObject({ projects: ['programs', 'farm'] });
});

test.each(['--runs', '--load', '--programs', '--farm', '--help'])('help tells of %s', (name) => {
  expect(HELP).toContain(`  ${name} `);
});

test.each([
  [['--nonsense'], '--nonsense'],
  [['--runs', '0'], '--runs: give a whole number from 1 to 10000'],
  [['--runs', 'x'], '--runs: give a whole number'],
  [['--runs', '1.5'], '--runs: give a whole number'],
  [['--farm', 'kills'], '--farm: name files, or run all tests of `npm run test:farm`'],
])('%j is refused with a word about it', (words, message) => {
  expect(() => parseSteadyOptions(words)).toThrow(UsageError);
  expect(() => parseSteadyOptions(words)).toThrow(message);
});
