/** Reads INPUTS_KEY in every form that somebody may have given it, and after every change of that form. */
import { expect, test } from 'vitest';
import { openInputs, sealInputs } from '../../../controller/secrets/inputs.ts';
import { knownKeyIds, newestSealingKey } from '../../../controller/secrets/sealing-keys.ts';

const OLD = 'old-0123456789abcdef0123456789abcdef';
const NEW = 'new-0123456789abcdef0123456789abcdef';
const LATER = 'later-0123456789abcdef0123456789abc';
/** Each of these counted as one secret before there was a list. */
const ODD = [
  `a:${OLD}`,
  `a:${OLD},b:${NEW}`,
  `: colons, commas and ${OLD}`,
  `${OLD},${NEW}`,
  ` ${OLD} `,
  'https://example.com/a,b:c?d=0123456789',
  'ключ-ключ-ключ-ключ-ключ-ключ-ключ-ключ',
  '0123456789abcdef:0123456789abcdef',
];
const INPUTS = { env: { TOKEN: 'geheim' } };

const ofText = (INPUTS_KEY: string) => ({ INPUTS_KEY });
const sealedWith = async (text: string) => (await sealInputs(ofText(text), 'b', INPUTS)).sealed;
const opens = async (text: string, sealed: string) => (await openInputs(ofText(text), 'b', sealed)).ok;

/** The one secret of the former release: the key is its SHA-256, the id a fingerprint of the key. */
async function sealedByOneSecret(secret: string): Promise<string> {
  const hex = (bytes: ArrayBuffer) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, '0')).join('');
  const bytes = (text: string) => new Uint8Array(new TextEncoder().encode(text));
  const digest = await crypto.subtle.digest('SHA-256', bytes(secret));
  const keyId = hex(await crypto.subtle.digest('SHA-256', bytes(`key id of ${hex(digest)}`))).slice(0, 16);
  const key = await crypto.subtle.importKey('raw', digest, 'AES-GCM', false, ['encrypt']);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const additionalData = bytes(JSON.stringify(['build_inputs', 'b', keyId]));
  const output = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData },
    key,
    bytes(JSON.stringify(INPUTS)),
  );
  const text = btoa(String.fromCharCode(...iv, ...new Uint8Array(output)));
  return `v2.${keyId}.${text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

test.each([OLD, ...ODD])(
  'what the former release sealed with %j as its one secret opens with the same text',
  async (text) => {
    expect(await opens(text, await sealedByOneSecret(text))).toBe(true);
  },
);

test('the first secret of a list seals, and all of them open', async () => {
  const list = `2:${NEW},1:${OLD}`;
  expect((await newestSealingKey(ofText(list))).id).toBe((await newestSealingKey(ofText(NEW))).id);
  for (const sealed of [await sealedWith(list), await sealedByOneSecret(OLD), await sealedByOneSecret(NEW)])
    expect(await opens(list, sealed)).toBe(true);
  expect(await opens(list, await sealedWith(LATER))).toBe(false);
});

test.each([
  [OLD, `2:${NEW},1:${OLD}`],
  [OLD, `1:${OLD}`],
  [`1:${OLD}`, OLD],
  [`1:${OLD}`, `2:${NEW}, 1:${OLD}`],
  [`2:${NEW},1:${OLD}`, `3:${LATER},2:${NEW}`],
  // An id that is used again does not hide the older key.
  [`1:${OLD}`, `1:${NEW},1:${OLD}`],
  // A rollback: the former release knows one secret.
  [`2:${NEW},1:${OLD}`, NEW],
])('what %j sealed opens with %j', async (before, after) => {
  expect(await opens(after, await sealedWith(before))).toBe(true);
});

test('what a secret of a list sealed opens in the former release, with that secret alone', async () => {
  const { keyId } = await sealInputs(ofText(`2:${NEW},1:${OLD}`), 'b', INPUTS);
  expect((await sealedByOneSecret(NEW)).split('.')[1]).toBe(keyId);
});

test('a list that is malformed seals nothing, says so without the secrets, and still opens what it can', async () => {
  for (const text of [`2:${NEW},${OLD}`, `2:${NEW},1:short`, `2:short,1:${OLD}`, `2:${NEW},`, `${NEW},1:${OLD}`]) {
    const error = await sealedWith(text).catch((thrown: unknown) => thrown as Error);
    expect(error, text).toBeInstanceOf(Error);
    const { message } = error as Error;
    expect(message).toMatch(/INPUTS_KEY must be one secret, or a list/);
    for (const secret of [NEW, OLD, 'short']) expect(message.replace('too short a secret', '')).not.toContain(secret);
    const readable = text.includes(`2:${NEW}`) ? NEW : OLD;
    expect(await opens(text, await sealedWith(readable)), text).toBe(true);
    expect(await opens(text, await sealedByOneSecret(text)), text).toBe(true);
  }
});

test('a secret that could be guessed opens and seals nothing', async () => {
  for (const text of ['', 'short', '1:short', '1:a,2:b']) {
    await expect(sealedWith(text), text).rejects.toThrow('INPUTS_KEY must have at least 32 characters');
    expect(await knownKeyIds(ofText(text))).toEqual([]);
  }
  expect(await knownKeyIds({} as { INPUTS_KEY: string })).toEqual([]);
});

test('the ids of all keys that open something are known', async () => {
  const ids = await knownKeyIds(ofText(`2:${NEW},1:${OLD}`));
  for (const text of [NEW, OLD, `2:${NEW},1:${OLD}`])
    expect(ids).toContain((await sealedByOneSecret(text)).split('.')[1]);
  expect(ids).toHaveLength(3);
});
