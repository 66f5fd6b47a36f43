/** Tests certificates: those of Apple, and authorities of one’s own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { outcomesOf, type StandInMac, standInMac } from '../factories/stand-in-mac.ts';
import { inShells, mode, step } from './provisioning.ts';

/** Certificates of an office: a root, one that it issued, that of a host, and a root that has expired. */
function officeCertificates(mac: StandInMac) {
  const path = (name: string) => join(import.meta.dirname, '../../fixtures/authorities', `${name}.pem`);
  const text = (name: string) => readFileSync(path(name), 'utf8');
  return {
    ...{ root: path('root'), leaf: path('leaf'), expired: path('old') },
    both: mac.file('both.pem', `${text('root')}some text\n${text('sub')}`),
    withKey: mac.file('with-key.pem', `${text('root')}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`),
    der: mac.file('root.der', '0\u0082 no text'),
  };
}

inShells(({ shell, inDetail }) => {
  inDetail(
    'a certificate of Apple that is not the pinned one is not installed, and one that was changed is replaced',
    async () => {
      using mac = standInMac(shell);
      const file = join(mac.root, 'usr/local/share/tartbeat/certificates/AppleWWDRCAG3.cer');
      mac.remember('other-certificate');
      const refused = await step(mac, 'apple-certificates');
      expect(refused).toMatchObject({ status: 1, word: 'failed' });
      expect(refused.detail).toContain('is not the certificate whose SHA-256');
      expect(readdirSync(join(file, '..'))).toEqual([]);
      expect(mac.recall('certificates')).toBeNull();
      mac.forget('other-certificate');
      expect((await step(mac, 'apple-certificates')).word).toBe('changed');
      mac.calls();
      writeFileSync(file, 'changed');
      expect((await step(mac, 'apple-certificates', ['--check'])).detail).toContain(
        'AppleWWDRCAG3.cer does not exist, or',
      );
      expect((await step(mac, 'apple-certificates')).word).toBe('changed');
      expect(mac.calls()).toEqual([expect.stringMatching(/^curl .*G3\.cer$/)]);
      expect(mode(file)).toBe('644');
    },
  );

  inDetail(
    'authorities of one’s own are trusted by the system and by builds, and what is none is refused',
    async () => {
      using mac = standInMac(shell);
      const pki = officeCertificates(mac);
      const run = (...files: string[]) =>
        mac.guest('provision.sh', ['--only', 'authorities', ...files.flatMap((file) => ['--ca', file])]);
      const folder = join(mac.root, 'usr/local/share/tartbeat/authorities');
      for (const [file, message] of [
        [pki.withKey, 'holds a private key'],
        [pki.leaf, 'is no certificate authority'],
        [pki.der, 'holds no certificate in PEM form'],
        [pki.expired, 'has expired'],
        [mac.file('broken.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'), 'no certificate'],
        [mac.file('none.pem'), 'cannot be read'],
      ] as const) {
        const refused = await run(file);
        expect([refused.status, refused.stderr], file).toEqual([64, expect.stringContaining(message)]);
      }
      expect(existsSync(folder)).toBe(false);

      const keytool = join(mac.root, 'Library/Java/JavaVirtualMachines/17.jdk/Contents/Home/bin/keytool');
      mkdirSync(join(keytool, '..'), { recursive: true });
      const list = mac.file('java');
      writeFileSync(
        keytool,
        `#!/bin/sh\ncase $1 in -list) grep -qs -- "$6" '${list}' ;; -importcert) echo "$@" >>'${list}' ;; esac\n`,
        { mode: 0o755 },
      );
      mac.remember('trust-needs-a-person');
      mac.remember('swift-may-not');
      const refused = await run(pki.root);
      expect(refused.stdout).toMatch(
        /failed +authorities +macOS lets nobody but a person at its screen trust .*Office Root/,
      );
      expect(refused.stdout).toMatch(/tart run VM.*sudo security add-trusted-cert -d -r trustRoot/);
      mac.forget('swift-may-not');
      expect(outcomesOf(await run(pki.root)).authorities).toBe('changed');
      mac.forget('trust-needs-a-person');
      mac.calls();
      // The file has two certificates, and one of them is there already.
      const changed = await run(pki.both);
      expect(outcomesOf(changed).authorities, changed.stdout).toBe('changed');
      expect(mac.calls()).toEqual([expect.stringMatching(/^chown/), 'security add-trusted-cert trustAsRoot']);
      const again = await step(mac, 'authorities');
      expect([again.word, again.detail]).toEqual(['ok', expect.stringContaining('2 trusted')]);
      expect(readFileSync(list, 'utf8').trim().split('\n')).toHaveLength(2);
      expect(readFileSync(join(folder, 'all.pem'), 'utf8')).toBe(
        `the public authorities\n${readFileSync(join(folder, 'own.pem'), 'utf8')}`,
      );
      expect(readFileSync(join(folder, 'own.pem'), 'utf8').match(/BEGIN/g)).toHaveLength(2);
      // The step monitor keeps the certificates, and a build finds them.
      for (const name of ['monitor', 'homebrew', 'build-shell']) expect((await step(mac, name)).status).toBe(0);
      expect((await step(mac, 'authorities', ['--check'])).word).toBe('ok');
      const found = await mac.guest(
        mac.file(
          'build',
          `. '${mac.root}/usr/local/share/tartbeat/build-environment.sh'\nenv | grep /authorities/ | sort\n`,
        ),
      );
      expect(found.stdout.trim().split('\n')).toEqual([
        `CURL_CA_BUNDLE=${folder}/all.pem`,
        `GIT_SSL_CAINFO=${folder}/all.pem`,
        `NODE_EXTRA_CA_CERTS=${folder}/own.pem`,
        `SSL_CERT_FILE=${folder}/all.pem`,
      ]);
      // The step undoes its change of the rule, also on a release on which the change works.
      mac.remember('trust-needs-a-person');
      mac.remember('rules-can-be-written');
      mac.forget('trusted');
      expect((await step(mac, 'authorities')).word).toBe('changed');
      expect(mac.recall('trust-allowed')).toBeNull();
      expect((await step(mac, 'image')).status).toBe(0);
      expect(readFileSync(join(folder, '../provisioned'), 'utf8').match(/^authority [0-9a-f]{64}$/gm)).toHaveLength(2);
    },
  );
});
