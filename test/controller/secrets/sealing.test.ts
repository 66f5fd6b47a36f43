/** Moves each sealed text to each other place. It opens where it was sealed, and nowhere else. */
import { expect, test } from 'vitest';
import { placeOfInputs } from '../../../controller/secrets/inputs.ts';
import { open, type Place, seal } from '../../../controller/secrets/sealing.ts';
import { placeOfSecret } from '../../../controller/secrets/stored-secrets.ts';

const ENV = { INPUTS_KEY: '2:new-0123456789abcdef0123456789abcdef,1:old-0123456789abcdef0123456789abcdef' };

const secret = { projectId: 'prj_1', id: 'sec_1', pool: 'release', name: 'TOKEN', path: null, version: 1 };
/** Each place differs from the first secret in one thing, or is of another purpose. */
const PLACES: Record<string, Place> = {
  'a stored secret': placeOfSecret(secret),
  'of another project': placeOfSecret({ ...secret, projectId: 'prj_2' }),
  'of another row': placeOfSecret({ ...secret, id: 'sec_2' }),
  'of another pool': placeOfSecret({ ...secret, pool: 'pull-requests' }),
  'of another name': placeOfSecret({ ...secret, name: 'KEY' }),
  'of another version': placeOfSecret({ ...secret, version: 2 }),
  'as a file': placeOfSecret({ ...secret, path: 'token' }),
  'as a file of another path': placeOfSecret({ ...secret, path: 'key' }),
  'inputs of a build': placeOfInputs('b_1'),
  'inputs of another build': placeOfInputs('b_2'),
  'inputs of a build whose id is that of a secret': placeOfInputs('sec_1'),
};

test('a sealed text opens in its own place alone', async () => {
  for (const [from, place] of Object.entries(PLACES)) {
    const { sealed, keyId } = await seal(ENV, place, 'geheim');
    expect(sealed).toMatch(new RegExp(`^v2\\.${keyId}\\.[A-Za-z0-9_-]+$`));
    for (const [to, other] of Object.entries(PLACES)) {
      const expected = from === to ? { ok: true, text: 'geheim' } : { ok: false, why: 'does not open' };
      expect(await open(ENV, other, sealed), `${from} → ${to}`).toEqual(expected);
    }
  }
});

test('each byte of a sealed text counts, and so does the id of its key', async () => {
  const place = PLACES['a stored secret']!;
  const { sealed } = await seal(ENV, place, 'geheim');
  const [version, keyId, text] = sealed.split('.') as [string, string, string];
  const other = (await seal({ INPUTS_KEY: `1:old-0123456789abcdef0123456789abcdef` }, place, 'x')).keyId;
  expect(await open(ENV, place, `${version}.${other}.${text}`)).toEqual({ ok: false, why: 'does not open' });
  // The last character of base64 holds bits that mean nothing, so it is left as it is.
  for (let at = 0; at < text.length - 1; at++) {
    const altered = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
    expect(await open(ENV, place, `${version}.${keyId}.${altered}`)).toEqual({ ok: false, why: 'does not open' });
  }
});

test('a key that is missing is named, and the text opens once it is back', async () => {
  const place = PLACES['a stored secret']!;
  const { sealed, keyId } = await seal(ENV, place, 'geheim');
  const without = { INPUTS_KEY: 'another-0123456789abcdef0123456789abcdef' };
  expect(await open(without, place, sealed)).toEqual({ ok: false, why: 'key missing', keyId });
  expect(await open(ENV, place, sealed)).toMatchObject({ ok: true });
});

test('any text comes back as it was', async () => {
  const place = PLACES['a stored secret']!;
  for (const text of ['', '\uFEFFwith a mark', '€'.repeat(100_000), '"quoted"\r\n\0'])
    expect(await open(ENV, place, (await seal(ENV, place, text)).sealed)).toEqual({ ok: true, text });
});

test('what is no sealed text does not open, and never throws', async () => {
  for (const junk of ['', '.', 'v1.', 'v2..', 'v2.x.', 'v2.x.%', 'v3.x.AAAA', 'v2.x.AAAA', 'v1.AAAA', 'moved'])
    for (const place of Object.values(PLACES))
      expect(await open(ENV, place, junk)).toEqual({ ok: false, why: 'unknown form' });
  // Only inputs of builds ever had the first form, so nothing else may have it.
  const long = 'A'.repeat(80);
  expect(await open(ENV, PLACES['a stored secret']!, `v1.${long}`)).toEqual({ ok: false, why: 'unknown form' });
});
