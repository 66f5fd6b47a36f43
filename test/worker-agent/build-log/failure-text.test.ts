import { expect, test } from 'vitest';
import { toldBy } from '../../../worker-agent/build-log/failure-text.ts';
import { maskPieces, needlesOf } from '../../../worker-agent/build-log/mask.ts';

const told = (log: string, secret: string) =>
  toldBy(log.split('\n'), needlesOf({ env: { SECRET: secret }, secretNames: ['SECRET'] }));

test('an error is known by its words even if a secret is one of them, and the secret does not come out', () => {
  const { explained } = told('tar: write error: No space left on device\n', 'No space left');
  expect(explained?.sentence).toMatch(/disk/);
  expect(explained?.line).toBe('tar: write error: *** on device');
});

test('what an explanation names is masked', () => {
  const secret = 'the-word-of-the-keeper';
  const { explained } = told(`npm ERR! 404  '${secret}@1.0.0' is not in this registry.`, secret);
  expect(explained?.id).toBeDefined();
  expect(JSON.stringify(explained)).not.toContain('keeper');
  expect(explained?.line).toContain('***');
});

test('a secret at which a line was cut is masked too', () => {
  const secret = 'the-word-of-the-keeper-of-the-flame';
  for (let before = 460; before <= 500; before++) {
    const { tellingLines = [] } = told(`error: ${'x'.repeat(before - 7)}${secret} is out\n`, secret);
    expect(tellingLines.length).toBe(1);
    expect(tellingLines[0]).not.toContain('the-word');
  }
});

test('a line without a secret is told as it is', () => {
  expect(told('wick: the flame of production is out', 'production-key-1').tellingLines).toEqual([
    'wick: the flame of production is out',
  ]);
});

test('pieces of a secret are masked from six characters on', () => {
  const needles = [Buffer.from('abcdefghijkl')];
  expect(maskPieces(needles, 'x abcdef. cdefghij abcde abcdefghijkl')).toBe('x ***. *** abcde ***');
});

test('if only the phase of the error is known, the lines that may tell come with it, both without secrets', () => {
  const log = [
    '[RUN_FASTLANE] lantern: error: the moon is in the-wrong-house',
    '[RUN_FASTLANE] Error: The "Run fastlane" step failed with an unknown error.',
    '[ON_BUILD_ERROR_HOOK] npm error code ERESOLVE',
    '',
    'Build failed',
    'Error: fastlane gym key:the-wrong-house exited with non-zero code: 1',
  ];
  const { explained, tellingLines } = told(log.join('\n'), 'the-wrong-house');
  expect(explained?.id).toBe('phase_failed');
  expect(explained?.sentence).toContain('RUN_FASTLANE');
  expect(tellingLines?.[0]).toBe('lantern: error: the moon is in ***');
  expect(JSON.stringify([explained, tellingLines])).not.toMatch(/wrong-house|ERESOLVE/);
});
