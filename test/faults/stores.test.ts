/**
 * Takes an app from a project with an eas.json to both stores, one by `submit --upload` and one by `upload`.
 * All is real but the Macs' VMs and the stores. Then looks for what only the stores and the controller may
 * know.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { AuditList, type SubmissionDetail, type SubmissionList, SubmissionList as Submissions } from '#contract';
import { BuildsClient } from '../../client/builds-client.ts';
import { readKeyFile } from '../../client/project/submit/key-file.ts';
import { readSubmitProfile, type SubmitPlan } from '../../client/project/submit/read-submit-profile.ts';
import { Connection } from '../../client/request.ts';
import type { StoreAddresses } from '../../controller/stores/step.ts';
import { startFarm } from '../../local/farm/farm.ts';
import { jsonLinesOf } from '../cli/factories/expo-build.ts';
import { expoBuildProcess, start } from '../cli/factories/started.ts';
import { filesInFolder } from '../client/project/factories/files-of.ts';
import { makeIdentity, makeProfile, signList } from '../client/signing/material.ts';
import { startAppStore } from '../set-up/stores/app-store/server.ts';
import { startPlay } from '../set-up/stores/play/server.ts';
import { testWith } from '../set-up/test-with.ts';
import { aab, INFO, iosFiles, ipa } from '../worker-agent/app-metadata/app-files.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { contentOf, filesBelow } from './factories/files-below.ts';

const withOpenssl = testWith('openssl');
const APP = INFO.CFBundleIdentifier;
/** The build number of the apps that the builds make. The stores have the number before it. */
const NUMBER = Number(INFO.CFBundleVersion);
const VERSION = INFO.CFBundleShortVersionString;
const POOLS = { ios: 'mac-1', android: 'mac-2' } as const;
const PATIENCE_MS = 120_000;

type Platform = keyof typeof POOLS;

withOpenssl('a project with an eas.json goes to both stores, and nothing shows how', async () => {
  await using stack = new AsyncDisposableStack();
  const [apple, play] = [await startAppStore(), await startPlay()];
  stack.defer(async () => void (await Promise.all([apple.stop(), play.stop()])));
  const addresses: StoreAddresses = {
    ...{ appStoreConnect: apple.url, googleToken: play.tokenUrl, googlePlay: play.url, insecure: true },
    uploadHosts: { apple: ['127.0.0.1'], google: ['127.0.0.1'] },
  };
  const printed: string[] = [];
  const farm = stack.use(
    await startFarm({
      ...{ workers: 2, ownPools: true, entry: fileURLToPath(new URL('factories/controller.ts', import.meta.url)) },
      vars: { STAND_INS: JSON.stringify(addresses) },
      onControllerLine: (line) => void printed.push(line),
    }),
  );

  // Both stores already have the number before.
  const appleKey = await apple.account();
  const ascAppId = await apple.app(appleKey.keyId, {
    ...{ bundleId: APP, builds: [{ version: VERSION, buildNumber: String(NUMBER - 1) }], groups: [{ name: 'QA' }] },
    polls: 0,
  });
  const serviceAccount = await play.account('robot@shop.iam.gserviceaccount.com', { apps: [APP] });
  const before = { versionCode: NUMBER - 1, kind: 'bundles' as const, sha256: 'a'.repeat(64) };
  await play.app(APP, { versionCode: NUMBER, library: [before] });

  const project = stack.use(temporaryDir()).path;
  writeProject(project, { ascAppId, appleKey, serviceAccount });
  const plans = await plansOf(project, { ASC_KEY_ID: appleKey.keyId, ASC_ISSUER: appleKey.issuerId ?? '' });

  // An admin makes the project and a key for the CI, and stores what eas.json names.
  const { url, secrets } = farm.controller;
  const answers: string[] = [];
  const ask = asker(url, answers);
  await ask('POST', '/api/projects', secrets.ADMIN_KEY, { name: 'shop' });
  const rights = { projects: ['shop'], pools: Object.values(POOLS), may: ['stores'] };
  const made = await ask('POST', '/api/keys', secrets.ADMIN_KEY, { name: 'ci of shop', scope: 'submit', ...rights });
  const ci = (made as { secret: string }).secret;
  const texts = { ios: await keyOf(project, plans.ios), android: await keyOf(project, plans.android) };
  const keys = {
    ios: {
      ...{ store: 'app-store-connect', keyId: appleKey.keyId, issuerId: plans.ios.storeKey.issuerId },
      ...{ apps: [APP], pools: [POOLS.ios], privateKey: texts.ios },
    },
    android: { store: 'google-play', apps: [APP], pools: [POOLS.android], serviceAccount: texts.android },
  };
  for (const platform of ['ios', 'android'] as const)
    expect(
      await ask('PUT', `/api/projects/shop/store-keys/of-${platform}`, secrets.ADMIN_KEY, keys[platform]),
    ).toMatchObject({ storeKey: { apps: [APP], version: 1 }, warnings: [] });

  // A person submits the app for iOS and waits for the store. The other app is built from the same source.
  const builds = new BuildsClient(new Connection({ url, key: ci }));
  const account = { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: ci };
  const making = (artifact: string) => `mkdir out && cp prebuilt/${artifact} out/`;
  const wholeWay = stack.use(
    start(['submit', '--upload', '--pool', POOLS.ios, '--command', making('Shop.ipa'), '--artifact', 'out/Shop.ipa'], {
      cwd: project,
      env: { ...account, ASC_KEY_ID: appleKey.keyId, ASC_ISSUER: appleKey.issuerId ?? '' },
    }),
  );
  await wholeWay.shows(/^b_\w+: ios, /m);
  const { id: iosId, source } = await builds.build(/^b_\w+/m.exec(wholeWay.stderr())![0]);
  const request = (platform: Platform, command: string) =>
    ({ source: { sha256: source.sha256 }, project: 'shop', pool: POOLS[platform], platform, command }) as const;
  const { id: androidId } = await builds.submit({
    ...request('android', making('shop.aab')),
    ...{ artifacts: ['out/shop.aab'], app: { id: APP, version: VERSION } },
  });
  const untilEnded = (id: string) => farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: PATIENCE_MS });
  const [ios, android] = await Promise.all([untilEnded(iosId), untilEnded(androidId)]);
  for (const { status, submit, attempts } of [ios, android])
    expect({ status, failure: submit?.failure ?? null, attempts }).toMatchObject({
      ...{ status: 'succeeded', failure: null },
    });
  // Nobody numbers an app that a command makes, because it is known only after the build.
  expect([ios.buildNumber, android.buildNumber]).toEqual([null, NUMBER]);
  // A person uploads the app for Android. The command reads the submit profile of the eas.json here.
  const upload = (...args: string[]) =>
    expoBuildProcess(['upload', android.id, ...args], { cwd: project, env: account });
  const refused = await upload('--track', 'nowhere', '--json');
  expect(refused.code, refused.stderr).toBe(7);
  expect(jsonLinesOf(refused).at(-1)).toMatchObject({
    ...{ type: 'submission', submission: { state: 'failed', options: { track: 'nowhere' } } },
  });
  const uploaded = await upload('--json');
  expect(uploaded, uploaded.stderr).toMatchObject({ code: 0, stderr: '' });
  expect(jsonLinesOf(uploaded).at(-1)).toMatchObject({ type: 'submission', submission: { state: 'done' } });
  answers.push(uploaded.stdout);
  const { entries } = AuditList.parse(await ask('GET', '/api/audit?limit=100', secrets.ADMIN_KEY));
  expect(entries.filter(({ action }) => action === 'number.seed')).toMatchObject([
    { keyName: 'ci of shop', detail: { value: NUMBER - 1 } },
  ]);

  // While the controller speaks to the stores, another build of the same project and Mac looks for the keys.
  const pem = {
    ios: appleKey.privateKey,
    android: (JSON.parse(serviceAccount) as { private_key: string }).private_key,
  };
  const lines = Object.values(pem).flatMap((text) => text.match(/[A-Za-z0-9+/=]{40,}/g) ?? []);
  const evil = await builds.submit({
    ...request('ios', LOOKS_FOR_KEYS),
    // The author of the build knows the keys. They are reversed, so that this text itself is no finding.
    env: { WANTED: lines.map((line) => [...line].reverse().join('')).join('\n') },
  });

  const submissionOf = async (build: string): Promise<SubmissionDetail> => {
    for (const giveUpAt = performance.now() + PATIENCE_MS; performance.now() < giveUpAt; await sleep(200)) {
      const { submissions } = await ask<SubmissionList>('GET', `/api/builds/${build}/submissions`, ci);
      const [first] = Submissions.parse({ submissions }).submissions;
      if (first?.endedAt) return ask<SubmissionDetail>('GET', `/api/submissions/${first.id}`, ci);
    }
    throw new Error(
      `no submission of ${build} has ended:\n${answers.slice(-2).join('\n')}\n${printed.slice(-30).join('\n')}`,
    );
  };
  for (const [build, name] of [
    [ios, 'out/Shop.ipa'],
    [android, 'out/shop.aab'],
  ] as const) {
    const submission = await submissionOf(build.id);
    expect(submission).toMatchObject({
      ...{
        state: 'done',
        failure: null,
        warnings: [],
        app: { id: APP, version: VERSION, buildNumber: String(NUMBER) },
      },
      ...{ artifact: { name, sha256: build.artifacts[0]?.sha256 }, sentBytes: build.artifacts[0]?.size },
    });
    expect(submission.timeline.map(({ state }) => state)).toEqual(
      expect.arrayContaining(['waiting', 'uploading', 'done']),
    );
  }

  expect(await wholeWay.ended, wholeWay.stdout() + wholeWay.stderr()).toBe(0);
  answers.push(wholeWay.stdout());
  expect(wholeWay.stdout()).toMatch(
    /^expo-build: Downloaded \S+Shop\.ipa$.*^expo-build: Submission \w+ to App Store Connect\.\n(expo-build: {3}.+\n){3,}$/ms,
  );

  // The stores have got the bytes of the artifacts exactly once.
  const inTestFlight = await apple.state(ascAppId);
  expect(inTestFlight.uploads).toMatchObject([{ state: 'COMPLETE', sha256: ios.artifacts[0]?.sha256 }]);
  expect(inTestFlight.builds.at(-1)).toMatchObject({ version: VERSION, buildNumber: String(NUMBER), groups: ['QA'] });
  expect(inTestFlight.asked).toMatchObject({ create: 1, reserve: 1, commit: 1 });
  const inPlay = await play.state(APP);
  expect(inPlay.library).toEqual([before, { ...before, versionCode: NUMBER, sha256: android.artifacts[0]?.sha256 }]);
  expect(inPlay).toMatchObject({
    commits: { [NUMBER]: 1 },
    tracks: { internal: [{ versionCodes: [String(NUMBER)], status: 'completed' }] },
    // The first upload was for a track that is not there.
    asked: { open: 2, commit: 1 },
  });
  expect([await apple.violations(), await play.violations()]).toEqual([[], []]);
  expect(await upload()).toMatchObject({ code: 2, stderr: expect.stringContaining('A store takes each number once') });

  expect(await untilEnded(evil.id)).toMatchObject({ status: 'succeeded' });
  for (const { id } of [ios, android, evil])
    for (const path of ['', '/logs', '/submissions']) await ask('GET', `/api/builds/${id}${path}`, secrets.ADMIN_KEY);
  expect(answers.at(-2)).toBe(FOUND);
  for (const path of ['/api/projects/shop/store-keys', '/api/projects/shop/submissions', '/api/audit?limit=100'])
    await ask('GET', path, secrets.ADMIN_KEY);

  // No secret is on a disk: of the controller, its D1, its objects and R2, of a Mac, its agent and VMs.
  const appleRequests = await apple.requests();
  const playRequests = await play.requests();
  const known = new Set([
    ...lines,
    ...[...appleRequests, ...playRequests].flatMap(
      ({ headers }) => headers.authorization?.replace('Bearer ', '') ?? [],
    ),
    ...playRequests.flatMap(({ url, body }) =>
      [
        new URL(url, 'http://x').searchParams.get('upload_id') ?? [],
        new URLSearchParams(body).get('assertion') ?? [],
      ].flat(),
    ),
    ...appleRequests.flatMap((one) => new URL(one.url, 'http://x').searchParams.get('X-Amz-Signature') ?? []),
  ]);
  // The test knows both keys, tokens for each call to Apple, one for Google, and addresses of both.
  expect(known.size).toBeGreaterThan(lines.length + 10);
  const places = new Map(filesBelow(farm.dir).map((path) => [path, contentOf(path)]));
  places.set('what the controller printed', Buffer.from(printed.join('\n')));
  places.set('what the agents said', Buffer.from(JSON.stringify(farm.macs.map(({ events }) => events))));
  places.set('what the controller answered', Buffer.from(answers.join('\n')));
  const holding = (texts: Iterable<string>) => {
    const parts = [...texts].flatMap((text) => [Buffer.from(text.slice(0, 36)), Buffer.from(text.slice(-36))]);
    return [...places].filter(([, bytes]) => parts.some((part) => bytes.includes(part))).map(([path]) => path);
  };
  // The search finds other texts in D1 and in R2, so it would find a secret as well.
  expect(holding([appleKey.keyId]).filter((path) => path.includes('/d1/'))).not.toEqual([]);
  expect(holding(['Payload/Shop.app/Info.plist']).filter((path) => path.includes('/r2/'))).not.toEqual([]);
  expect(holding([...known, ...SIGNS])).toEqual([]);
});

/** Texts that keys, tokens and addresses contain. */
const SIGNS = ['BEGIN PRIVATE KEY', 'ya29.', 'upload_id=', 'X-Amz-Signature', 'eyJhbGciOi'];

/** Prints what it finds, and where. It hides something first, which it must find. */
const LOOKS_FOR_KEYS = `wanted() { printf '%s\\n' "$WANTED" | rev; printf '%s\\n' 'BEGIN PRIVATE' 'ya''29.' "$HIDDEN"; }
found() { printf '%s: %s\\n' "$1" "$(tr '\\0' '\\n' | sort -u | tr '\\n' ' ')"; }
export HIDDEN=hidden-here
echo "$HIDDEN" >"$HOME/hidden"
sleep 60 &
env | grep -aohF -f <(wanted) | found variables
for p in $(grep -lzxF "TARTBEAT_ROOT=$TARTBEAT_ROOT" /proc/[0-9]*/environ 2>/dev/null); do
  grep -zaohF -f <(wanted) "$p" "\${p%environ}cmdline" 2>/dev/null
done | found processes
grep -raohF -f <(wanted) "$TARTBEAT_ROOT/" 2>/dev/null | found files
kill %1
`;
const FOUND = ['variables', 'processes', 'files'].map((place) => `${place}: hidden-here \n`).join('');

interface Stored {
  ascAppId: string;
  appleKey: { privateKey: string };
  serviceAccount: string;
}

/** The keys lie in the folder, as they do for many people, and .easignore keeps them there. */
function writeProject(folder: string, { ascAppId, appleKey, serviceAccount }: Stored): void {
  const signer = makeIdentity();
  const profile = makeProfile(signer, { kind: 'app-store', bundleId: APP });
  const files: Record<string, string | Buffer> = {
    'eas.json': JSON.stringify({
      build: { production: {} },
      submit: {
        base: { android: { track: 'internal', serviceAccountKeyPath: 'keys/service-account.json' } },
        production: {
          extends: 'base',
          ios: {
            ...{ ascAppId, ascApiKeyId: '$ASC_KEY_ID', ascApiKeyIssuerId: '$ASC_ISSUER', groups: ['QA'] },
            ascApiKeyPath: 'keys/AuthKey.p8',
          },
        },
      },
    }),
    '.easignore': 'keys/\n',
    'keys/AuthKey.p8': appleKey.privateKey,
    'keys/service-account.json': serviceAccount,
    // Apple gets this file in several parts.
    'prebuilt/Shop.ipa': ipa({ ...iosFiles({ profile }), 'picture.bin': randomBytes(300_000) }),
    'prebuilt/shop.aab': aab({
      'base/picture.bin': randomBytes(600_000),
      'META-INF/UPLOAD.RSA': signList('signed', signer),
    }),
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

async function plansOf(folder: string, variables: Record<string, string>): Promise<Record<Platform, SubmitPlan>> {
  const files = await filesInFolder(folder);
  const plan = async (platform: Platform) => {
    const read = await readSubmitProfile(files, '', platform, undefined, variables);
    if (!read.ok) throw new Error(read.problem);
    expect(read.notes).toEqual([]);
    return read.value;
  };
  return { ios: await plan('ios'), android: await plan('android') };
}

async function keyOf(folder: string, { storeKey }: SubmitPlan): Promise<string> {
  const read = readKeyFile(folder, '', storeKey.path ?? '');
  if (!read.ok) throw new Error(read.problem);
  return read.value;
}

/** Rejects with the answer unless it is a success. All answers are added to `answers`. */
function asker(url: string, answers: string[]) {
  return async <T>(method: string, path: string, key: string, body?: object): Promise<T> => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    answers.push(text);
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
    return (response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text) as T;
  };
}
