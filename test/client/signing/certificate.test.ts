/** Opens .p12 files that OpenSSL wrote, and such as no program would write. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import forge from 'node-forge';
import { expect, test } from 'vitest';
import { CONVERT, certificateOpener } from '../../../client/signing/certificate.ts';
import { openPkcs12, PKCS12_MAX_BYTES } from '../../../client/signing/pkcs12.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { type Identity, makeIdentity, makeP12, PASSWORD, problemIn, TEAM, valueIn } from './material.ts';

const withOpenssl = testWith('openssl');
let made: Identity | undefined;
const identity = () => (made ??= makeIdentity());

const open = (content: Buffer, password = PASSWORD, inProfile: string[] = []) =>
  certificateOpener()(
    { path: 'certs/dist.p12', content, password, passwordFix: 'correct `password`' },
    new Set(inProfile),
  );

/** Opens it as Expo's engine does, which has no other means. */
function openAsEngine(p12: Buffer, password: string): string | undefined {
  const asn1 = forge.asn1.fromDer(p12.toString('latin1'));
  const opened = password ? forge.pkcs12.pkcs12FromAsn1(asn1, password) : forge.pkcs12.pkcs12FromAsn1(asn1);
  const first = opened.getBags({ bagType: forge.pki.oids.certBag! })[forge.pki.oids.certBag!]![0]!.cert!;
  const der = forge.asn1.toDer(forge.pki.certificateToAsn1(first)).getBytes();
  return forge.md.sha1.create().update(der).digest().toHex().toUpperCase();
}

/** OpenSSL's words about the ciphers and the MAC. */
function ciphersOf(p12: Buffer, password: string): string {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'p12'), p12);
  writeFileSync(join(dir.path, 'password'), password);
  const args = ['pkcs12', '-info', '-noout', '-in', 'p12', '-passin', 'file:password'];
  execFileSync('sh', ['-c', `openssl ${args.join(' ')} -legacy >said 2>&1`], { cwd: dir.path });
  return execFileSync('cat', ['said'], { cwd: dir.path, encoding: 'utf8' });
}

withOpenssl('a file as Keychain Access writes it is told and given on unchanged', () => {
  const p12 = makeP12(identity());
  const opened = open(p12);
  expect(opened).toMatchObject({ ok: true, notes: [] });
  const { expires, ...value } = valueIn(opened);
  expect(expires.getTime()).toBeGreaterThan(Date.now());
  expect(value).toEqual({
    name: `Apple Distribution: Example (${TEAM})`,
    team: TEAM,
    sha1: identity().sha1,
    hasPrivateKey: true,
    p12,
    password: PASSWORD,
  });
});

for (const kind of [
  'modern',
  '-nomac',
  '-legacy -keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-RC2-128',
  '-keypbe NONE -certpbe NONE',
  '-keypbe aes-192-cbc -certpbe des-ede3-cbc -macalg sha512 -iter 20000',
])
  withOpenssl(`a file of the kind "${kind}" is written again as macOS and Expo's engine open it`, () => {
    const opened = open(makeP12(identity(), { kind }));
    const { p12, password, sha1 } = valueIn(opened);
    expect(opened).toMatchObject({
      notes: [expect.stringMatching(/^The certificate `certs\/dist\.p12` is encrypted/)],
    });
    expect([password, sha1]).toEqual([PASSWORD, identity().sha1]);
    const said = ciphersOf(p12, password);
    expect(said).toMatch(/^MAC: sha1/m);
    expect(said).toMatch(/^Shrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC/m);
    expect(said).not.toContain('PBES2');
    expect(openAsEngine(p12, password)).toBe(identity().sha1);
  });

withOpenssl('a file with an empty password gets one, because the engine opens none without', () => {
  for (const kind of ['old', 'modern']) {
    const p12 = makeP12(identity(), { kind, password: '' });
    expect(() => openAsEngine(p12, '')).toThrow('Invalid password');
    const again = valueIn(open(p12, ''));
    expect(again.password).toMatch(/^[0-9a-f]{48}$/);
    expect(openAsEngine(again.p12, again.password)).toBe(identity().sha1);
  }
});

withOpenssl('of several identities the one in the profile is taken, and comes first', () => {
  const other = makeIdentity();
  const all = [identity(), other].map(({ certificate }) => forge.pki.certificateFromPem(certificate));
  const key = forge.pki.privateKeyFromPem(other.key);
  const written = forge.pkcs12.toPkcs12Asn1(key, all, PASSWORD, { algorithm: '3des' });
  const p12 = Buffer.from(forge.asn1.toDer(written).getBytes(), 'latin1');
  expect(openAsEngine(p12, PASSWORD)).toBe(identity().sha1);
  const opened = valueIn(open(p12, PASSWORD, [other.sha1]));
  expect([opened.sha1, opened.hasPrivateKey]).toEqual([other.sha1, true]);
  expect(openAsEngine(opened.p12, PASSWORD)).toBe(other.sha1);
});

withOpenssl('a certificate without a key, or with the key of another, is told so', () => {
  const other = makeIdentity();
  const { certificate } = identity();
  const foreign = forge.pkcs12.toPkcs12Asn1(forge.pki.privateKeyFromPem(other.key), [certificate] as never, PASSWORD, {
    algorithm: '3des',
  });
  for (const p12 of [makeP12({ certificate }), Buffer.from(forge.asn1.toDer(foreign).getBytes(), 'latin1')])
    expect(valueIn(open(p12))).toMatchObject({ hasPrivateKey: false, sha1: identity().sha1 });
});

withOpenssl('a wrong password is told with the way to correct it', () => {
  for (const kind of ['old', 'modern', '-nomac'])
    expect(problemIn(open(makeP12(identity(), { kind }), 'wrong'))).toBe(
      '`certs/dist.p12` does not open with its password: correct `password`.',
    );
});

withOpenssl('what cannot be converted is told with commands, and they do convert it', () => {
  const elliptic = makeIdentity(TEAM, 'EC');
  expect(problemIn(open(makeP12(elliptic, { kind: 'modern' })))).toContain(CONVERT);
  expect(problemIn(open(makeP12(identity(), { kind: '-legacy -keypbe PBE-SHA1-RC4-128' })))).toContain(CONVERT);
  expect(valueIn(open(makeP12(elliptic)))).toMatchObject({ hasPrivateKey: true, sha1: elliptic.sha1 });
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'OLD.p12'), makeP12(identity(), { kind: 'modern', password: 'x' }));
  const commands = CONVERT.replace(' -nodes', ' -nodes -passin pass:x').replace(' -export', ' -export -passout pass:x');
  execFileSync('sh', ['-c', commands], { cwd: dir.path, stdio: 'ignore' });
  const converted = execFileSync('cat', ['NEW.p12'], { cwd: dir.path });
  expect(open(converted, 'x')).toMatchObject({ ok: true, notes: [], value: { sha1: identity().sha1 } });
});

/** Writes another number of rounds wherever the file has 2,048. */
function withRounds(p12: Buffer, rounds: Buffer): Buffer {
  const change = (node: forge.asn1.Asn1): void => {
    if (Array.isArray(node.value)) for (const child of node.value) change(child);
    else if (node.type === forge.asn1.Type.INTEGER && node.value === '\x08\x00') node.value = rounds.toString('latin1');
    else if (node.type === forge.asn1.Type.OCTETSTRING)
      try {
        const inner = forge.asn1.fromDer(node.value as string);
        change(inner);
        node.value = forge.asn1.toDer(inner).getBytes();
      } catch {
        // An octet string without others in it.
      }
  };
  const whole = forge.asn1.fromDer(p12.toString('latin1'));
  change(whole);
  return Buffer.from(forge.asn1.toDer(whole).getBytes(), 'latin1');
}

withOpenssl('a file that wants a thousand million rounds is refused before any of them', () => {
  for (const kind of ['old', 'modern', '-nomac', '-legacy -nomac'])
    for (const rounds of ['3b9aca00', '7fffffff', 'ffffffffffffffffffffffff', '00ffffffffffffffffffffff']) {
      const p12 = withRounds(makeP12(identity(), { kind }), Buffer.from(rounds, 'hex'));
      expect(problemIn(open(p12))).toContain('too long');
    }
  const none = withRounds(makeP12(identity()), Buffer.from('00', 'hex'));
  expect(open(none)).toMatchObject({ ok: false });
});

withOpenssl('all files of a build together get no more rounds than one', () => {
  const openAll = certificateOpener();
  const content = withRounds(makeP12(identity()), Buffer.from('030d40', 'hex'));
  const problems = Array.from({ length: 40 }, (_, index) =>
    problemIn(openAll({ path: `${index}.p12`, content, password: 'x', passwordFix: 'correct it' }, new Set())),
  );
  expect(problems.filter((problem) => problem?.includes('too long')).length).toBeGreaterThan(36);
});

withOpenssl('damaged, cut, huge and random files are refused in a sentence', () => {
  const whole = [makeP12(identity()), makeP12(identity(), { kind: 'modern' }), makeP12(identity(), { kind: '-nomac' })];
  const parts = [
    Buffer.alloc(0),
    Buffer.alloc(PKCS12_MAX_BYTES),
    Buffer.alloc(PKCS12_MAX_BYTES + 1),
    randomBytes(9999),
  ];
  const nested = [
    [0x30, 0x80],
    [0x05, 0x00],
    [0x24, 0x80],
    [0x03, 0x02, 0x00, 0x00],
  ].map((bytes) => Buffer.concat([Buffer.from([0x30, 0x80]), Buffer.alloc(PKCS12_MAX_BYTES - 2, Buffer.from(bytes))]));
  for (const content of [...parts, ...nested])
    expect(problemIn(open(content))).toMatch(/^`certs\/dist\.p12` .*: .+\.$/);
  fc.assert(
    fc.property(
      fc.constantFrom(...whole),
      fc.nat(3000),
      fc.uint8Array({ minLength: 1, maxLength: 4 }),
      (p12, at, bytes) => {
        expect(openPkcs12(p12.subarray(0, at % p12.length), PASSWORD)).toHaveProperty('refused');
        const damaged = Buffer.from(p12);
        damaged.set(bytes, at % (damaged.length - 4));
        expect(typeof openPkcs12(damaged, PASSWORD)).toBe('object');
        expect(typeof open(damaged).ok).toBe('boolean');
      },
    ),
    { numRuns: 300 },
  );
});

test('a name that moves the cursor does not', () => {
  const file = { path: 'a\u001b[2J\nb.p12', content: Buffer.from('x'), password: '', passwordFix: '' };
  const said = problemIn(certificateOpener()(file, new Set()));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
  expect(said).not.toMatch(/[\u0000-\u001f]/);
});
