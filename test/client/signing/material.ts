/** Makes certificates, .p12 files and provisioning profiles with OpenSSL, as people and Apple make them. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'plist';
import type { Found } from '../../../client/project/found.ts';
import { sha1Of } from '../../../client/signing/certificate.ts';
import type { SigningTarget } from '../../../client/signing/credentials.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

export const TEAM = 'ABCDE12345';
export const BUNDLE_ID = 'com.example.app';
export const PASSWORD = 'pass "word\\ü€';
export const APP: SigningTarget = { target: 'App', bundleId: BUNDLE_ID };
export const WIDGET: SigningTarget = { target: 'Widget', bundleId: `${BUNDLE_ID}.widget` };

export interface Identity {
  key: string;
  certificate: string;
  der: Buffer;
  sha1: string;
}

/** Runs OpenSSL in a folder of its own, and returns the file `out` that it wrote. */
function openssl(args: string[], files: Record<string, string | Buffer> = {}): Buffer {
  using dir = temporaryDir();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir.path, name), content);
  execFileSync('openssl', [...args, '-out', 'out'], { cwd: dir.path, stdio: ['ignore', 'ignore', 'pipe'] });
  return readFileSync(join(dir.path, 'out'));
}

/** Valid for ten days from now on. */
export function makeIdentity(team = TEAM, algorithm: 'RSA' | 'EC' = 'RSA'): Identity {
  const options = algorithm === 'RSA' ? ['rsa_keygen_bits:2048'] : ['ec_paramgen_curve:P-256'];
  const key = openssl(['genpkey', '-algorithm', algorithm, '-pkeyopt', ...options]).toString();
  const subject = `/UID=${team}/CN=Apple Distribution: Example (${team})/OU=${team}/O=Example/C=DE`;
  const made = openssl(['req', '-x509', '-key', 'key', '-days', '10', '-subj', subject], { key });
  const der = openssl(['x509', '-in', 'certificate', '-outform', 'DER'], { certificate: made });
  return { key, certificate: made.toString(), der, sha1: sha1Of(der) };
}

/** `old` is what Keychain Access writes, `modern` the default of OpenSSL 3. */
export function makeP12(
  { key, certificate }: { key?: string; certificate: string },
  { kind = 'old', password = PASSWORD, more = [] as string[] } = {},
): Buffer {
  return openssl(
    [
      ...['pkcs12', '-export', '-in', 'all', '-passout', 'file:password'],
      ...(key === undefined ? ['-nokeys'] : []),
      ...(kind === 'modern' ? [] : kind === 'old' ? ['-legacy'] : kind.split(' ')),
    ],
    { all: [key, certificate, ...more].join('\n'), password: `${password}\n` },
  );
}

export interface ProfileWish {
  bundleId?: string;
  team?: string;
  certificates?: Buffer[];
  expires?: Date;
  kind?: 'development' | 'ad-hoc' | 'app-store' | 'enterprise';
  name?: string;
}

const DAY_MS = 24 * 3600 * 1000;

export function makeList(wish: ProfileWish): string {
  const { bundleId = BUNDLE_ID, team = TEAM, certificates = [], kind = 'app-store', name = 'Example profile' } = wish;
  return build({
    Name: name,
    UUID: '0e9e3a5c-3a4f-4c41-9d0f-2f6f0a3b8c11',
    TeamIdentifier: [team],
    TeamName: 'Example & Söhne',
    Platform: ['iOS'],
    CreationDate: new Date(),
    ExpirationDate: wish.expires ?? new Date(Date.now() + 9 * DAY_MS),
    DeveloperCertificates: certificates,
    Entitlements: { 'application-identifier': `${team}.${bundleId}`, 'get-task-allow': kind === 'development' },
    ...(kind === 'enterprise' && { ProvisionsAllDevices: true }),
    ...((kind === 'ad-hoc' || kind === 'development') && { ProvisionedDevices: ['00008030-000000000000002E'] }),
  });
}

/** Signed by the given identity, as Apple signs with its own. */
export function signList(list: string, { key, certificate }: Identity, more: string[] = []): Buffer {
  const options = [
    'cms',
    '-sign',
    '-nodetach',
    '-binary',
    '-outform',
    'DER',
    '-signer',
    'certificate',
    '-inkey',
    'key',
  ];
  return openssl([...options, ...more, '-in', 'list'], { list, key, certificate });
}

export const makeProfile = (signer: Identity, wish: ProfileWish = {}): Buffer =>
  signList(makeList({ certificates: [signer.der], ...wish }), signer);

export function valueIn<T>(found: Found<T>): T {
  if (!found.ok) throw new Error(found.problem);
  return found.value;
}

export const problemIn = (found: Found<unknown>): string | null => (found.ok ? null : found.problem);
