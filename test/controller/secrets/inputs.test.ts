import { expect, test } from 'vitest';
import { openInputs, sealInputs } from '../../../controller/secrets/inputs.ts';

const KEY = { INPUTS_KEY: '0123456789abcdef0123456789abcdef' };
const INPUTS = { env: { TOKEN: 'geheim €', EMPTY: '' } };

test('sealed inputs open for their build', async () => {
  const sealed = await sealInputs(KEY, 'bld_1', INPUTS);
  expect(sealed).not.toContain('geheim');
  expect(await openInputs(KEY, 'bld_1', sealed)).toEqual(INPUTS);
});

test('the same inputs are never sealed alike', async () => {
  expect(await sealInputs(KEY, 'bld_1', INPUTS)).not.toBe(await sealInputs(KEY, 'bld_1', INPUTS));
});

test('they open for no other build, no other key, and not once altered', async () => {
  const sealed = await sealInputs(KEY, 'bld_1', INPUTS);
  await expect(openInputs(KEY, 'bld_2', sealed)).rejects.toThrow('do not open');
  await expect(openInputs({ INPUTS_KEY: 'f'.repeat(32) }, 'bld_1', sealed)).rejects.toThrow('do not open');
  const altered = sealed.slice(0, 20) + (sealed[20] === 'A' ? 'B' : 'A') + sealed.slice(21);
  await expect(openInputs(KEY, 'bld_1', altered)).rejects.toThrow('do not open');
  for (const junk of ['', 'v1.', 'v1.%', '{}']) await expect(openInputs(KEY, 'bld_1', junk)).rejects.toThrow('bld_1');
});

test('a key that could be guessed is an error that names it', async () => {
  await expect(sealInputs({ INPUTS_KEY: 'short' }, 'bld_1', INPUTS)).rejects.toThrow('INPUTS_KEY must have at least');
});
