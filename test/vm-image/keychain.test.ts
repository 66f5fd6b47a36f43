/** Tests the guest's keychain helper against a stand-in of macOS's `security` and `codesign`. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { testWith } from '../set-up/test-with.ts';
import { isTestedInDetail, SHELLS } from './factories/guest-script.ts';
import { argumentsOf, DISTRIBUTION, LOGIN, P12_PASSWORD, RELEASES, signingMac } from './factories/signing-mac.ts';

const KEYCHAIN = resolve(import.meta.dirname, '../../vm-image/keychain');
const WWDR = 'Apple Worldwide Developer Relations G3';
type Mac = ReturnType<typeof signingMac>;

const installed = (mac: Mac) => {
  const folder = mac.at('home/Library/MobileDevice/Provisioning Profiles');
  return existsSync(folder) ? readdirSync(folder) : [];
};

for (const shell of SHELLS) {
  const holds = testWith(shell);
  const inDetail = isTestedInDetail(shell) ? holds : () => {};
  const create = (mac: Mac, change: Record<string, string> = {}) => mac.run(shell, KEYCHAIN, ['create'], change);

  for (const release of RELEASES)
    holds(`${shell}, macOS ${release}: a keychain is made in the order that holds, and proved by codesign`, () => {
      using mac = signingMac(release);
      mac.give('ios/certs/dist.p12', DISTRIBUTION);
      mac.give('ios/wwdr.cer', WWDR);
      mac.give('app.mobileprovision', 'UUID-1');
      const made = create(mac);
      const { keychain, at } = mac;
      const marked =
        'keychain: warning: macOS marks an identity with TP_NOT_TRUSTED; codesign is tried now, and decides\n';
      expect([made.stderr, made.status, made.stdout]).toEqual([
        release === '15.7.1' ? '' : marked,
        0,
        `KEYCHAIN=${keychain}\n`,
      ]);
      const proof = at('state/keychain.proof');
      expect(mac.calls().map((call) => call.replace(/[0-9a-f]{48}/g, 'RANDOM'))).toEqual([
        `security -i <  "create-keychain" "-p" "RANDOM" "${keychain}"`,
        `security set-keychain-settings ${keychain}`,
        `security -i <  "unlock-keychain" "-p" "RANDOM" "${keychain}"`,
        `security -i <  "import" "${at('secrets/ios/certs/dist.p12')}" "-k" "${keychain}" "-f" "pkcs12" "-P" "pass \\"word\\\\ü" "-T" "/usr/bin/codesign" "-T" "/usr/bin/security" "-T" "/usr/bin/productbuild"`,
        `security import ${at('secrets/ios/wwdr.cer')} -k ${keychain} -t cert`,
        `security -i <  "set-key-partition-list" "-S" "apple-tool:,apple:,codesign:" "-s" "-k" "RANDOM" "${keychain}"`,
        'security list-keychains -d user',
        `security list-keychains -d user -s ${keychain} ${LOGIN} /Library/a b.keychain`,
        `security find-identity -p codesigning ${keychain}`,
        `codesign --force --timestamp=none --sign ${DISTRIBUTION.sha1} --keychain ${keychain} ${proof}`,
        `codesign -v ${proof}`,
        `security cms -D -i ${at('secrets/app.mobileprovision')}`,
      ]);
      const random = /"([0-9a-f]{48})"/.exec(mac.calls()[0]!)![1]!;
      for (const call of mac.calls())
        for (const password of [P12_PASSWORD, 'word', random]) expect(argumentsOf(call)).not.toContain(password);
      expect(installed(mac)).toEqual(['UUID-1.mobileprovision']);
      expect(readdirSync(at('state')).sort()).toEqual(['build.keychain-db', 'keychain', 'keychain.profiles']);
      expect(mac.search()).toEqual([keychain, LOGIN, '/Library/a b.keychain']);
    });

  inDetail(`${shell}: intermediates of the image complete the chain, and one twice ends nothing`, () => {
    using mac = signingMac('26.1');
    mac.give('dist.p12', { ...DISTRIBUTION, needs: WWDR });
    const without = create(mac);
    expect([without.status, without.stderr]).toEqual([
      1,
      expect.stringMatching(
        /^Warning: unable to build chain.+\n.+errSecInternalComponent\nkeychain: codesign cannot sign .+ \(macOS marks it with CSSMERR_TP_NOT_TRUSTED\)$/m,
      ),
    ]);
    expect(readdirSync(mac.at('state'))).toEqual([]);
    const folder = mac.at('root/usr/local/share/tartbeat/certificates');
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/AppleWWDRCAG3.cer`, WWDR);
    mac.give('same.cer', WWDR);
    const made = create(mac);
    expect([made.status, made.stderr]).toEqual([0, expect.stringContaining('warning: same.cer was not imported')]);
  });

  holds(`${shell}: it is deleted with its profiles, and a second time without harm`, () => {
    using mac = signingMac();
    mac.give('dist.p12', DISTRIBUTION);
    mac.give('deep/er/app.mobileprovision', 'UUID-1');
    expect(create(mac).status).toBe(0);
    for (const _ of [1, 2]) expect(mac.run(shell, KEYCHAIN, ['delete']).status).toBe(0);
    expect(mac.calls().at(-1)).toBe(`security delete-keychain ${mac.keychain}`);
    expect([installed(mac), readdirSync(mac.at('state'))]).toEqual([[], []]);
  });

  for (const fails of [
    'create-keychain',
    'set-keychain-settings',
    'unlock',
    '"import"',
    'set-key-partition-list',
    'list-keychains -d user -s',
    'codesign --force',
    'codesign -v',
  ])
    inDetail(`${shell}: when ${fails} fails it says so in one line, and leaves no half keychain`, () => {
      using mac = signingMac('15.7.1', { fails });
      mac.give('dist.p12', DISTRIBUTION);
      const made = create(mac);
      expect([made.status, made.stdout, made.stderr]).toEqual([1, '', expect.stringMatching(/^keychain: .+\n$/)]);
      expect(readdirSync(mac.at('state'))).toEqual([]);
    });

  inDetail(`${shell}: a codesign that waits for a click is killed, and the reason is told`, () => {
    using mac = signingMac('26.1', { hangs: 'codesign --force' });
    mac.give('dist.p12', DISTRIBUTION);
    const made = create(mac);
    expect([made.status, made.stderr]).toEqual([
      1,
      expect.stringMatching(
        /^codesign did not end within 20 s, so it waits for a click: the key is not opened to it\.\nkeychain: codesign cannot sign with what was imported/m,
      ),
    ]);
    expect(readdirSync(mac.at('state'))).toEqual([]);
    expect(execFileSync('ps', ['-axo', 'args=,stat='], { encoding: 'utf8' })).not.toContain(mac.keychain);
  });

  inDetail(`${shell}: a wrong password and a modern file are told with both causes and the way out`, () => {
    for (const change of [{ password: 'other' }, { isModern: true }]) {
      using mac = signingMac('26.1');
      mac.give('a/dist.p12', { ...DISTRIBUTION, ...change });
      expect(create(mac).stderr).toMatch(
        /^security: .+MAC verification failed.+\nkeychain: dist\.p12 could not be imported: either P12_PASSWORD is not its password, or OpenSSL 3 .+PBE-SHA1-3DES/,
      );
    }
  });

  inDetail(
    `${shell}: import and partition list end with 0 without a key, and the missing key is told all the same`,
    () => {
      using mac = signingMac('26.1');
      mac.give('dist.p12', { ...DISTRIBUTION, hasKey: false });
      expect(create(mac).stderr).toContain('no identity to sign with was imported: export the *.p12 together');
      mac.give('second.P12', { ...DISTRIBUTION, sha1: 'F'.repeat(40) });
      const made = create(mac);
      expect([made.status, made.stderr]).toEqual([0, expect.stringContaining('2 *.p12 gave 1 identities')]);
    },
  );

  inDetail(`${shell}: one identity that signs is enough, and the others are named`, () => {
    using mac = signingMac();
    mac.give('dist.p12', DISTRIBUTION);
    mac.give('more.p12', { ...DISTRIBUTION, sha1: 'F'.repeat(40), needs: 'another root' });
    const made = create(mac);
    expect([made.status, made.stderr]).toEqual([
      0,
      expect.stringContaining(`warning: codesign cannot sign with the identity ${'F'.repeat(40)}\n`),
    ]);
  });

  inDetail(`${shell}: a build without the files or the profile it needs is told which`, () => {
    using mac = signingMac();
    mac.give('dist.p12.txt', 'x');
    expect(create(mac).stderr).toContain('no *.p12');
    expect(create(mac, { TARTBEAT_SECRETS: '/nowhere' }).stderr).toContain('secretFiles');
    expect(create(mac, { TARTBEAT_STATE: '' }).stderr).toContain('TARTBEAT_STATE');
    mac.give('dist.p12', DISTRIBUTION);
    expect(create(mac, { P12_PASSWORD: 'a\nquit' }).stderr).toContain('P12_PASSWORD has a line break');
    mac.give('bad.mobileprovision', '<>');
    expect(create(mac).stderr).toContain('bad.mobileprovision is not a provisioning profile');
    expect(mac.run(shell, KEYCHAIN, ['what']).status).toBe(64);
  });
}

test('the script has no mistake in its grammar', () => {
  execFileSync('sh', ['-n', KEYCHAIN]);
});
