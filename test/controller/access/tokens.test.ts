import { expect, test } from 'vitest';
import { isToken, signToken, type TokenClaims, verifyToken } from '../../../controller/access/tokens.ts';

const OLD = 'old:0123456789abcdef0123456789abcdef';
const NEW = 'new:fedcba9876543210fedcba9876543210';
const NOW = 1_800_000_000_000;

const claims = (overrides: Partial<TokenClaims> = {}): TokenClaims => ({
  kind: 'run',
  buildId: 'bld_1',
  attempt: 2,
  workerId: 'wrk_1',
  expiresAt: NOW + 60_000,
  ...overrides,
});
const unauthorized = expect.objectContaining({ ok: false, code: 'unauthorized' });

test('a token says what it was signed for', async () => {
  for (const kind of ['vm', 'run'] as const) {
    const token = await signToken({ TOKEN_KEYS: NEW }, claims({ kind }));
    expect(token).toMatch(new RegExp(`^tb_${kind}_[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]{43}$`));
    expect(isToken(token)).toBe(true);
    expect(await verifyToken({ TOKEN_KEYS: NEW }, token, NOW)).toEqual(claims({ kind }));
  }
});

test('the first key signs, all verify, and a dropped key no longer does', async () => {
  const byOld = await signToken({ TOKEN_KEYS: OLD }, claims());
  const rotated = { TOKEN_KEYS: `${NEW}, ${OLD}` };
  expect(await verifyToken(rotated, byOld, NOW)).toEqual(claims());
  const byNew = await signToken(rotated, claims());
  expect(await verifyToken({ TOKEN_KEYS: NEW }, byNew, NOW)).toEqual(claims());
  expect(await verifyToken({ TOKEN_KEYS: NEW }, byOld, NOW)).toEqual(unauthorized);
});

test('a token ends at its expiry, to the second', async () => {
  const token = await signToken({ TOKEN_KEYS: NEW }, claims({ expiresAt: NOW + 1 }));
  expect(await verifyToken({ TOKEN_KEYS: NEW }, token, NOW + 999)).toMatchObject({ attempt: 2 });
  expect(await verifyToken({ TOKEN_KEYS: NEW }, token, NOW + 1_000)).toEqual(unauthorized);
});

test('no character of a token can be changed, nor its kind', async () => {
  const token = await signToken({ TOKEN_KEYS: NEW }, claims({ kind: 'vm' }));
  expect(await verifyToken({ TOKEN_KEYS: NEW }, token.replace('tb_vm_', 'tb_run_'), NOW)).toEqual(unauthorized);
  // The last character carries two bits that no byte uses.
  for (let i = 0; i < token.length - 1; i++) {
    const other = token[i] === 'A' ? 'B' : 'A';
    const forged = token.slice(0, i) + other + token.slice(i + 1);
    expect(await verifyToken({ TOKEN_KEYS: NEW }, forged, NOW)).toEqual(unauthorized);
  }
});

test('whatever is no token is refused, not thrown at', async () => {
  for (const junk of [
    '',
    'tb_run_',
    'tb_run_.',
    'tb_run_a.b',
    'tb_run_W10.W10',
    'tb_run_%%.%%',
    `tb_run_${'a'.repeat(5_000)}.a`,
  ])
    expect(await verifyToken({ TOKEN_KEYS: NEW }, junk, NOW)).toEqual(unauthorized);
});

test('signing keys that could be guessed are an error that tells no secret', async () => {
  for (const TOKEN_KEYS of ['', 'short:secret', 'nocolon0123456789abcdef0123456789abcdef', `${NEW},`]) {
    const failure = await signToken({ TOKEN_KEYS }, claims()).catch((error: Error) => error.message);
    expect(failure).toContain('TOKEN_KEYS must be');
    expect(failure).not.toContain('secret0');
    expect(failure).not.toContain('fedcba');
  }
});
