/** Asks for every sentence about signing that a submitter may see before the build. */
import { expect, test } from 'vitest';
import { checkSigning, type SigningCheck } from '../../../client/signing/check-signing.ts';
import { type AndroidCredentials, iosCredentials } from '../../../client/signing/credentials.ts';
import { testWith } from '../../set-up/test-with.ts';
import { JKS, PKCS12 } from './keystores.ts';
import {
  APP,
  type Identity,
  makeIdentity,
  makeP12,
  makeProfile,
  PASSWORD,
  type ProfileWish,
  problemIn,
  TEAM,
  valueIn,
  WIDGET,
} from './material.ts';

const withOpenssl = testWith('openssl');
let made: { identity: Identity; p12: Buffer } | undefined;

function material() {
  if (made) return made;
  const identity = makeIdentity();
  return (made = { identity, p12: makeP12(identity) });
}

const DAY_MS = 24 * 3600 * 1000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);

const entry = (target: string, wish: ProfileWish = {}, p12 = material().p12) => ({
  target,
  profile: { path: `${target}.mobileprovision`, content: makeProfile(material().identity, wish) },
  certificate: { path: 'dist.p12', content: p12, password: PASSWORD, passwordFix: 'correct it' },
});

function check(entries: ReturnType<typeof entry>[], change: Partial<SigningCheck> = {}) {
  const credentials = valueIn(iosCredentials(entries));
  return problemIn(checkSigning(credentials, { targets: [APP], now: new Date(), ...change }));
}

withOpenssl('good files of one target and of several have no problem', () => {
  expect(check([entry('App')])).toBeNull();
  expect(check([entry('App', { bundleId: '*' })])).toBeNull();
  expect(check([entry('App', { team: 'ZYXWV98765' })])).toBeNull();
  const both = [entry('App'), entry('Widget', { bundleId: WIDGET.bundleId! })];
  expect(check(both, { targets: [APP, WIDGET] })).toBeNull();
  expect(check([entry('App', { bundleId: 'org.other' })], { targets: [{ target: 'App', bundleId: null }] })).toBeNull();
});

withOpenssl('each problem is one sentence that names the file, the fault and the fix', () => {
  const { identity } = material();
  const other = makeIdentity('ZYXWV98765');
  const said = {
    noKey: check([entry('App', {}, makeP12({ certificate: identity.certificate }))]),
    oldCertificate: check([entry('App', { expires: inDays(99) })], { now: inDays(11) }),
    oldProfile: check([entry('App', { expires: inDays(-1) })]),
    team: check([entry('App', { team: 'ZYXWV98765', certificates: [other.der] })]),
    notInProfile: check([entry('App', { certificates: [other.der] })]),
    bundleId: check([entry('App', { bundleId: 'com.example.other' })]),
    kind: check([entry('App', { kind: 'ad-hoc' })]),
    missing: check([entry('App')], { targets: [APP, WIDGET] }),
    kinds: check([entry('App'), entry('Widget', { bundleId: '*', kind: 'enterprise' })]),
  };
  expect(said).toEqual({
    noKey: expect.stringMatching(/^`dist\.p12` has no private key .+: in Keychain Access .+ export both/),
    oldCertificate: expect.stringMatching(
      /^The certificate in `dist\.p12` \(Apple .+\) expired on \d{4}-\d\d-\d\d: make/,
    ),
    oldProfile: expect.stringMatching(
      /^The profile `App\.mobileprovision` \(Example profile\) expired on .+: renew it/,
    ),
    team: expect.stringMatching(
      new RegExp(
        `^The certificate in \`dist\\.p12\` .+ of the team ${TEAM}, but .+ ZYXWV98765: submit both of one team`,
      ),
    ),
    notInProfile: expect.stringMatching(
      new RegExp(`^The profile \`App\\.mobileprovision\` .+ does not contain .+ SHA-1 ${identity.sha1}\\): add it`),
    ),
    bundleId: expect.stringMatching(
      /^The profile .+ is for `com\.example\.other`, but the target `App` has the bundle id `com\.example\.app`: submit/,
    ),
    kind: expect.stringMatching(
      /is of the kind ad-hoc, but `distribution: store` in eas\.json wants app-store or enter/,
    ),
    missing: expect.stringMatching(
      /^The target `Widget` \(com\.example\.app\.widget\) has no certificate .+: add `Widget`/,
    ),
    kinds: expect.stringMatching(
      /^The profiles `App.+` and `Widget.+` are of different kinds \(app-store and enterprise\)/,
    ),
  });
  for (const sentence of Object.values(said)) expect(sentence).toMatch(/^[^\n]+\.$/);
});

withOpenssl('which kind of profile passes is what eas-cli lets pass', () => {
  const KINDS = ['development', 'ad-hoc', 'app-store', 'enterprise'] as const;
  const passing = (change: Partial<SigningCheck>) =>
    KINDS.filter((kind) => check([entry('App', { kind })], change) === null);
  expect(passing({})).toEqual(['app-store', 'enterprise']);
  expect(passing({ distribution: 'store' })).toEqual(['app-store', 'enterprise']);
  expect(passing({ distribution: 'internal' })).toEqual(['development', 'ad-hoc', 'enterprise']);
  expect(passing({ distribution: 'internal', enterpriseProvisioning: 'adhoc' })).toEqual(['ad-hoc']);
  expect(passing({ distribution: 'internal', enterpriseProvisioning: 'universal' })).toEqual(['enterprise']);
});

function checkKeystore(base64: string | Buffer, keystorePassword = 'geheim', keyAlias = 'upload') {
  const dataBase64 = Buffer.isBuffer(base64) ? base64.toString('base64') : base64;
  const credentials: AndroidCredentials = {
    platform: 'android',
    buildCredentials: { keystore: { dataBase64, keystorePassword, keyAlias } },
    keystorePath: 'up.jks',
    secrets: [],
  };
  return problemIn(checkSigning(credentials, { targets: [], now: new Date() }));
}

test('a keystore of keytool passes in both forms, and its alias counts without case', () => {
  for (const keystore of [JKS, PKCS12]) {
    expect(checkKeystore(keystore)).toBeNull();
    expect(checkKeystore(keystore, 'geheim', 'UPLOAD')).toBeNull();
  }
});

test('a wrong password, a wrong alias and a damaged keystore are told apart', () => {
  for (const keystore of [JKS, PKCS12]) {
    expect(checkKeystore(keystore, 'x')).toMatch(/^The keystore `up\.jks` does not open with its password: correct/);
    expect(checkKeystore(keystore, 'geheim', 'other')).toMatch(
      /^The keystore `up\.jks` has no key with the alias `other`/,
    );
    for (const end of [0, 4, 11, 12, 100, -1, -300])
      expect(checkKeystore(Buffer.from(keystore, 'base64').subarray(0, end))).toMatch(/^`up\.jks` is not a keystore/);
  }
  for (const content of ['', 'x'.repeat(99), 'feedfeed'.repeat(9), '<html>'])
    expect(checkKeystore(Buffer.from(content))).toMatch(/^`up\.jks` is not a keystore/);
  const endless = Buffer.from(`feedfeed00000002ffffffff${'00'.repeat(200)}`, 'hex');
  expect(checkKeystore(endless)).toMatch(/^`up\.jks` is not a keystore/);
});
