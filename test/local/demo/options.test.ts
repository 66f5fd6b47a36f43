import { expect, test } from 'vitest';
import { checkFolders, FAULT_DEMO_NAMES, parseDemoOptions, UsageError } from '../../../local/demo/options.ts';

test('without options the sample project is built and nothing is saved', () => {
  expect(parseDemoOptions([], '/here')).toEqual({
    help: false,
    keep: false,
    project: null,
    fault: null,
    outputDir: null,
  });
});

test('a project, its command and its artifacts count from where the user stands', () => {
  const words = ['--project', 'app', '--command', 'make', '--artifact', 'a/*', '--artifact', 'b'];
  expect(parseDemoOptions(words, '/here')).toMatchObject({
    project: { dir: '/here/app', command: 'make', artifacts: ['a/*', 'b'] },
    outputDir: '/here/tartbeat-artifacts',
  });
  expect(parseDemoOptions([...words, '--output', '../out'], '/here').outputDir).toBe('/out');
});

test('npm runs scripts in the package, but the user stands elsewhere', () => {
  const words = ['--project', '.', '--command', 'make'];
  const before = process.env.INIT_CWD;
  process.env.INIT_CWD = '/elsewhere';
  try {
    expect(parseDemoOptions(words).project?.dir).toBe('/elsewhere');
  } finally {
    if (before === undefined) delete process.env.INIT_CWD;
    else process.env.INIT_CWD = before;
  }
});

test.each(FAULT_DEMO_NAMES)('there is the fault %s', (name) => {
  expect(parseDemoOptions(['--fault', name]).fault).toBe(name);
});

test.each([
  [['--nonsense'], '--nonsense'],
  [['word'], 'word'],
  [['--fault', 'fire'], 'there is no fault fire; give one of freeze'],
  [['--fault', ''], '--fault is empty'],
  [['--project', '.'], '--project: also give --command'],
  [['--project', '', '--command', 'make'], '--project is empty'],
  [['--project', '.', '--command', 'make', '--artifact', 'a', '--artifact', ''], '--artifact is empty'],
  [['--command', 'make'], '--command: also give --project'],
  [['--artifact', 'a'], '--artifact: also give --project'],
  [['--project', '.', '--command', 'make', '--fault', 'freeze'], 'leave out --project'],
])('%j is refused with a word about it', (words, message) => {
  expect(() => parseDemoOptions(words)).toThrow(UsageError);
  expect(() => parseDemoOptions(words)).toThrow(message);
});

test('a folder that is none is refused before anything is started', () => {
  const here = import.meta.filename;
  const check = (...words: string[]) => checkFolders(parseDemoOptions([...words, '--command', 'make'], '/'));
  expect(() => check('--project', '/nowhere')).toThrow('--project: /nowhere is not a folder');
  expect(() => check('--project', here)).toThrow('is not a folder');
  expect(() => check('--project', import.meta.dirname, '--output', here)).toThrow('--output: ');
  expect(() => check('--project', import.meta.dirname, '--output', '/nowhere')).not.toThrow();
});
