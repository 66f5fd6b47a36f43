/** Reads credentials.json and the files that it names, in folders on this disk and among secret files. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { SigningTarget } from '../../../client/signing/credentials.ts';
import { readCredentials } from '../../../client/signing/credentials-json.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { filesInFolder } from '../project/factories/files-of.ts';
import {
  APP,
  BUNDLE_ID,
  type Identity,
  makeIdentity,
  makeP12,
  makeProfile,
  PASSWORD,
  problemIn,
  valueIn,
  WIDGET,
} from './material.ts';

const withOpenssl = testWith('openssl');
let made: { identity: Identity; p12: Buffer; app: Buffer; widget: Buffer } | undefined;

function material() {
  if (made) return made;
  const identity = makeIdentity();
  const app = makeProfile(identity);
  return (made = {
    identity,
    p12: makeP12(identity),
    app,
    widget: makeProfile(identity, { bundleId: WIDGET.bundleId! }),
  });
}

type Contents = Record<string, string | Buffer | object>;
const asBytes = (content: string | Buffer | object) =>
  typeof content === 'string' || Buffer.isBuffer(content)
    ? Buffer.from(content as never)
    : Buffer.from(JSON.stringify(content));

interface Given {
  source?: Contents;
  secrets?: Contents;
  appRoot?: string;
  platform?: 'ios' | 'android';
  env?: Record<string, string>;
  targets?: SigningTarget[];
}

async function read({ source = {}, secrets = {}, appRoot = '.', platform = 'ios', env = {}, targets = [APP] }: Given) {
  using dir = temporaryDir();
  for (const [path, content] of Object.entries(source)) {
    mkdirSync(dirname(join(dir.path, path)), { recursive: true });
    writeFileSync(join(dir.path, path), asBytes(content));
  }
  const secretFiles = new Map(Object.entries(secrets).map(([path, content]) => [path, asBytes(content)]));
  return await readCredentials(await filesInFolder(dir.path), appRoot, platform, { secretFiles, env, targets });
}

const entry = (profile = 'ios/app.mobileprovision', path = 'ios/dist.p12', password: unknown = PASSWORD) => ({
  provisioningProfilePath: profile,
  distributionCertificate: { path, password },
});

const inJob = (profile: Buffer, p12 = material().p12) => ({
  provisioningProfileBase64: profile.toString('base64'),
  distributionCertificate: { dataBase64: p12.toString('base64'), password: PASSWORD },
});

withOpenssl('one target: the entry becomes that of the app', async () => {
  const { p12, app } = material();
  const source = { 'credentials.json': { ios: entry() }, 'ios/app.mobileprovision': app, 'ios/dist.p12': p12 };
  expect(valueIn(await read({ source }))).toMatchObject({ buildCredentials: { App: inJob(app) }, secrets: [PASSWORD] });
});

withOpenssl('several targets, in the app of a monorepo, with files above it', async () => {
  const { p12, app, widget } = material();
  const up = '../../signing/dist.p12';
  const ios = { App: entry('./app.mobileprovision', up), Widget: entry('../../signing/w.mobileprovision', up) };
  const source = {
    'apps/mobile/credentials.json': { ios },
    'apps/mobile/app.mobileprovision': app,
    'signing/dist.p12': p12,
    'signing/w.mobileprovision': widget,
  };
  const found = valueIn(await read({ source, appRoot: 'apps/mobile', targets: [APP, WIDGET] }));
  expect(found?.buildCredentials).toEqual({ App: inJob(app), Widget: inJob(widget) });
});

withOpenssl('secret files lie over the source: credentials.json itself, and what it names', async () => {
  const { p12, app } = material();
  const found = await read({
    source: {
      'credentials.json': { ios: entry('other') },
      'ios/dist.p12': 'an old one',
      'ios/app.mobileprovision': app,
    },
    secrets: { 'credentials.json': { ios: entry() }, 'ios/dist.p12': p12 },
  });
  expect(valueIn(found)?.buildCredentials).toEqual({ App: inJob(app) });
});

withOpenssl('secret files alone: each profile finds its target, and the certificate that it contains', async () => {
  const { p12, app, widget } = material();
  const other = makeIdentity();
  const found = await read({
    secrets: {
      'a.p12': makeP12(other),
      'certs/dist.P12': p12,
      'old.mobileprovision': makeProfile(material().identity, { expires: new Date(0) }),
      'star.mobileprovision': makeProfile(other, { bundleId: '*' }),
      'widget.mobileprovision': widget,
      'z.mobileprovision': app,
    },
    env: { P12_PASSWORD: PASSWORD },
    targets: [APP, WIDGET],
  });
  expect(valueIn(found)?.buildCredentials).toEqual({ App: inJob(app), Widget: inJob(widget) });
  const unknown = { secrets: { 'a.p12': p12, 'b.mobileprovision': app }, env: { P12_PASSWORD: PASSWORD } };
  const job = valueIn(await read({ ...unknown, targets: [{ target: 'App', bundleId: null }] }))?.buildCredentials;
  expect(job).toEqual({ App: inJob(app) });
});

withOpenssl('what is missing among secret files is said', async () => {
  const { p12, app, widget } = material();
  const told = async (given: Given) => problemIn(await read(given));
  const password = { P12_PASSWORD: PASSWORD };
  expect(await told({ secrets: { 'a.p12': p12 } })).toMatch(/`a\.p12`, but no provisioning profile/);
  expect(await told({ secrets: { 'a.mobileprovision': app } })).toMatch(/`a\.mobileprovision`, but no certificate/);
  const both = { 'a.p12': p12, 'w.mobileprovision': widget };
  expect(await told({ secrets: both, env: password })).toMatch(
    /^No profile .+ target `App` .+`com\.example\.app` \(`w\.mobileprovision` is for `com\.example\.app\.widget`\): submit/,
  );
  expect(await told({ secrets: { 'a.p12': p12, 'a.mobileprovision': app } })).toBe(
    '`a.p12` does not open with its password: give it as the secret variable `P12_PASSWORD`.',
  );
  expect(await told({ secrets: { 'a.p12': p12, 'a.mobileprovision': app }, env: { P12_PASSWORD: 'x' } })).toContain(
    'correct the secret variable `P12_PASSWORD`',
  );
  const unclear = { secrets: { ...both, 'a.mobileprovision': app }, targets: [{ target: 'App', bundleId: null }] };
  expect(await told(unclear)).toContain('name the files in credentials.json');
});

test('Android: the keystore as the engine wants it, with and without a password of the key', async () => {
  const keystore = { keystorePath: 'up.jks', keystorePassword: 'a', keyAlias: 'upload' };
  const given = { platform: 'android', source: { 'up.jks': 'bytes' } } as const;
  const job = { dataBase64: Buffer.from('bytes').toString('base64'), keystorePassword: 'a', keyAlias: 'upload' };
  for (const more of [{}, { keyPassword: 'b' }]) {
    const json = { android: { keystore: { ...keystore, ...more } } };
    const found = await read({ ...given, source: { ...given.source, 'credentials.json': json } });
    expect(valueIn(found)?.buildCredentials).toEqual({ keystore: { ...job, ...more } });
  }
});

test('a build without any of it has null', async () => {
  for (const platform of ['ios', 'android'] as const)
    expect(await read({ platform, secrets: { '.env': 'x', 'a.jks': 'x' } })).toEqual({
      ok: true,
      value: null,
      notes: [],
    });
});

test.each([
  ['', 'not valid JSON'],
  ['{"ios": {"password": "geheim"', 'not valid JSON'],
  ['[]', 'is not an object'],
  ['null', 'is not an object'],
  ['{}', 'has no `ios`'],
  ['{"ios": null}', '`ios` in `credentials.json` is not an object'],
  ['{"ios": {"provisioningProfilePath": "a"}}', '`ios.distributionCertificate` in `credentials.json` is missing'],
  [
    '{"ios": {"provisioningProfilePath": "a", "distributionCertificate": {}}}',
    '`ios.distributionCertificate.password`',
  ],
  ['{"ios": {"App": {}}}', '`ios.App.distributionCertificate` in `credentials.json` is missing'],
  ['{"ios": {"App": 3}}', '`ios.App` in `credentials.json` is not an object'],
  ['{"ios": {"__proto__": {"provisioningProfilePath": "a"}}}', '`ios.__proto__.distributionCertificate`'],
  [JSON.stringify({ ios: entry('a', 'b', 7) }), '.password` in `credentials.json` is not a text'],
  [JSON.stringify({ ios: Object.fromEntries(Array.from({ length: 31 }, (_, i) => [`T${i}`, entry()])) }), '31 targets'],
])('credentials.json with %j is refused by name', async (json, words) => {
  const said = problemIn(await read({ source: { 'credentials.json': json } }));
  expect(said).toContain(words);
  expect(said).not.toContain('geheim');
});

const OUTSIDE = [
  '/etc/passwd',
  '//etc/passwd',
  '/',
  '/proc/self/environ',
  '..',
  '../',
  '../outside.p12',
  '../../outside.p12',
  '../../../../../../../../etc/passwd',
  './../../outside.p12',
  'ios/../../outside.p12',
  'ios/../../../outside.p12',
  'ios/.././../outside.p12',
  'ios//..//..//outside.p12',
  '../app/../outside.p12',
  '../app2/outside.p12',
  'a/b/c/../../../../outside.p12',
  '\0',
  'ios/dist.p12\0',
  'ios/dist.p12\0/../../outside.p12',
];
const NOT_THERE = [
  '',
  '.',
  './',
  'ios',
  'ios/',
  'ios/..',
  '~/.ssh/id_ed25519',
  '~root/.ssh/id_ed25519',
  '$HOME/.aws/credentials',
  '`id`',
  '$(cat /etc/passwd)',
  'file:///etc/passwd',
  'https://example.com/x.p12',
  '%2e%2e/outside.p12',
  '%2e%2e%2foutside.p12',
  '..\\outside.p12',
  '..\u2215outside.p12',
  '\u2025/outside.p12',
  ' /etc/passwd',
  'link.p12',
  'link-to-root/passwd',
  'link-up/outside.p12',
  'ios/link.p12',
  'link-chain.p12',
  'link-proc',
  'loop',
  'ios/none.p12',
  `${'a/'.repeat(9000)}x`,
  'x'.repeat(9000),
  'constructor',
];

test(`${OUTSIDE.length + NOT_THERE.length} hostile paths read nothing outside the source`, async () => {
  expect(OUTSIDE.length + NOT_THERE.length).toBeGreaterThanOrEqual(40);
  using dir = temporaryDir();
  const source = join(dir.path, 'app');
  mkdirSync(join(source, 'ios'), { recursive: true });
  mkdirSync(join(dir.path, 'app2'));
  for (const path of ['outside.p12', 'app2/outside.p12'])
    writeFileSync(join(dir.path, path), 'a secret of this machine');
  writeFileSync(join(source, 'ios/dist.p12'), 'x');
  const links = {
    'link.p12': '../outside.p12',
    'link-to-root': '/etc',
    'link-up': '..',
    'ios/link.p12': join(dir.path, 'outside.p12'),
    'link-chain.p12': 'link.p12',
    'link-proc': '/proc/self/environ',
    loop: 'loop',
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(source, name));
  const files = await filesInFolder(source);
  const opened: string[] = [];
  const watched = {
    paths: files.paths,
    read(path: string) {
      opened.push(path);
      return files.read(path);
    },
  };
  const inputs = { env: {}, targets: [APP] };
  for (const [paths, words] of [
    [OUTSIDE, 'leads out of the source'],
    [NOT_THERE, 'neither the source nor the secret files'],
  ] as const)
    for (const path of paths)
      for (const [platform, json] of [
        ['ios', { ios: entry('ios/dist.p12', path) }],
        ['ios', { ios: { App: entry(path) } }],
        ['android', { android: { keystore: { keystorePath: path, keystorePassword: '', keyAlias: 'a' } } }],
      ] as const) {
        const secretFiles = new Map([['credentials.json', asBytes(json)]]);
        const said = problemIn(await readCredentials(watched, '.', platform, { ...inputs, secretFiles }));
        expect(said).toContain(words);
        expect(said).not.toMatch(/a secret of|\0|root:/);
        expect(said!.length).toBeLessThan(800);
      }
  expect(new Set(opened)).toEqual(new Set(['ios/dist.p12']));
});

withOpenssl(
  'the app itself is called as the first target, and a bundle id that is not known fits every profile',
  async () => {
    const { p12, app } = material();
    const secrets = { 'credentials.json': { ios: entry() }, 'ios/app.mobileprovision': app, 'ios/dist.p12': p12 };
    const targets = [{ target: 'MyApp', bundleId: null }, WIDGET];
    expect(Object.keys(valueIn(await read({ secrets, targets }))!.buildCredentials)).toEqual(['MyApp']);
    expect(BUNDLE_ID).toBe(APP.bundleId);
  },
);
