import { expect, test } from 'vitest';
import { openInputs, sealInputs } from '../../../controller/secrets/inputs.ts';
import { sealedByFormerRelease } from '../factories/former-release.ts';

const KEY = { INPUTS_KEY: '0123456789abcdef0123456789abcdef' };
const INPUTS = { env: { TOKEN: 'geheim €', EMPTY: '' } };

const seal = async (buildId: string) => (await sealInputs(KEY, buildId, INPUTS)).sealed;

test('sealed inputs open for their build', async () => {
  const { sealed, keyId } = await sealInputs(KEY, 'bld_1', INPUTS);
  expect(sealed).not.toContain('geheim');
  expect(sealed.startsWith(`v2.${keyId}.`)).toBe(true);
  expect(await openInputs(KEY, 'bld_1', sealed)).toEqual({ ok: true, inputs: INPUTS });
});

test('the same inputs are never sealed alike', async () => {
  expect(await seal('bld_1')).not.toBe(await seal('bld_1'));
});

test('inputs that the former release sealed open too', async () => {
  const sealed = await sealedByFormerRelease(KEY.INPUTS_KEY, 'bld_1', INPUTS);
  expect(await openInputs(KEY, 'bld_1', sealed)).toEqual({ ok: true, inputs: INPUTS });
  for (const [key, buildId] of [
    [KEY.INPUTS_KEY, 'bld_2'],
    ['f'.repeat(32), 'bld_1'],
  ] as const)
    expect(await openInputs({ INPUTS_KEY: key }, buildId, sealed)).toMatchObject({ ok: false, code: 'inputs_gone' });
});

test('they open for no other build, and not once altered', async () => {
  const sealed = await seal('bld_1');
  const altered = sealed.slice(0, 40) + (sealed[40] === 'A' ? 'B' : 'A') + sealed.slice(41);
  const junk = ['', 'v1.', 'v1.%', 'v2.', 'v2.AAAA', 'v3.AAAA.AAAA', '{}', 'moved to build_inputs'];
  for (const [buildId, text] of [['bld_2', sealed], ['bld_1', altered], ...junk.map((one) => ['bld_1', one])] as const)
    expect(await openInputs(KEY, buildId!, text!), text).toMatchObject({ ok: false, code: 'inputs_gone' });
});

test('without the key that sealed them they wait for it, and it is named', async () => {
  const { sealed, keyId } = await sealInputs(KEY, 'bld_1', INPUTS);
  const refused = await openInputs({ INPUTS_KEY: 'f'.repeat(32) }, 'bld_1', sealed);
  expect(refused).toMatchObject({ ok: false, code: 'inputs_key_missing', message: expect.stringContaining(keyId) });
});
