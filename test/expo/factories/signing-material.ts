/** Makes a certificate, a profile for it as Apple would give it, and an Android keystore. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

/** It has every character that a shell, JSON or a log may change. */
export const PASSWORD = `p12"pass\\word 'with' $all & of <them>`;

export interface SigningMaterial {
  /** SHA-1 of the certificate, as `security find-identity` prints it. */
  fingerprint: string;
  iosCredentials: Record<string, unknown>;
  androidCredentials: Record<string, unknown>;
  /** The secrets that must be nowhere after a build. */
  secrets: Record<string, Buffer>;
}

export async function makeSigningMaterial(dir: string, target: string, bundleId: string): Promise<SigningMaterial> {
  const at = (name: string) => join(dir, name);
  const openssl = async (...args: string[]) => void (await execa('openssl', args, { cwd: dir, env: { P: PASSWORD } }));
  const subject = '/CN=Apple Distribution: Example (TEAM000000)/OU=TEAM000000';
  const making = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', 'key.pem', '-out', 'cert.pem'];
  await openssl('req', ...making, '-subj', subject);
  // macOS cannot read the ciphers that openssl 3 takes by itself.
  await openssl(
    'pkcs12',
    '-export',
    '-legacy',
    '-inkey',
    'key.pem',
    '-in',
    'cert.pem',
    '-out',
    'dist.p12',
    '-passout',
    'env:P',
  );
  await openssl('x509', '-in', 'cert.pem', '-outform', 'der', '-out', 'cert.der');
  const certificate = readFileSync(at('cert.der'));
  writeFileSync(
    at('profile.plist'),
    `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Name</key><string>Example profile</string>
<key>UUID</key><string>00000000-0000-4000-8000-000000000000</string><key>TeamIdentifier</key><array><string>TEAM000000</string></array>
<key>ExpirationDate</key><date>${new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d+/, '')}</date>
<key>DeveloperCertificates</key><array><data>${certificate.toString('base64')}</data></array>
<key>Entitlements</key><dict><key>application-identifier</key><string>TEAM000000.${bundleId}</string></dict></dict></plist>`,
  );
  const signing = ['-sign', '-nodetach', '-binary', '-outform', 'der', '-signer', 'cert.pem', '-inkey', 'key.pem'];
  await openssl('smime', ...signing, '-in', 'profile.plist', '-out', 'example.mobileprovision');
  const p12 = readFileSync(at('dist.p12'));
  const profile = readFileSync(at('example.mobileprovision'));
  const keystore = createHash('sha512').update(p12).digest();
  return {
    fingerprint: createHash('sha1').update(certificate).digest('hex').toUpperCase(),
    iosCredentials: {
      [target]: {
        provisioningProfileBase64: profile.toString('base64'),
        distributionCertificate: { dataBase64: p12.toString('base64'), password: PASSWORD },
      },
    },
    androidCredentials: {
      keystore: {
        dataBase64: keystore.toString('base64'),
        keystorePassword: 'keystore-password-1',
        keyAlias: 'upload',
        keyPassword: 'key-password-12',
      },
    },
    secrets: {
      p12: p12.subarray(100, 164),
      'p12 in base64': Buffer.from(p12.toString('base64').slice(40, 104)),
      password: Buffer.from(PASSWORD),
      'password in JSON': Buffer.from(JSON.stringify(PASSWORD).slice(1, -1)),
      profile: profile.subarray(100, 164),
      keystore,
      'keystore password': Buffer.from('keystore-password-1'),
      'key password': Buffer.from('key-password-12'),
    },
  };
}
