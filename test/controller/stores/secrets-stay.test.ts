import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import type { SubmitOptions } from '#contract';
import { bytesOf, call, sha256Of } from '../factories/rows.ts';
import { stepsOfTests } from '../factories/steps-of-tests.ts';
import { appOf, aRelease, type Release, uploadOf } from '../factories/submissions.ts';
import { contentsOfTables } from '../factories/tables.ts';
import * as apple from './app-store-driver.ts';
import * as google from './play-driver.ts';
import { setKey, submitBy, untilEnded } from './submitting.ts';

afterEach(() => {
  stepsOfTests.addresses = null;
  vi.restoreAllMocks();
});

const CONTENT = 'the bytes of an app, '.repeat(7_000);
const ECHO = `Bearer ya29.c.echo at https://x.googleapis.com/u?upload_id=${'a1B2'.repeat(20)}`;

interface Prepared {
  release: Release;
  /** The text of the private key. */
  pem: string;
  /** The values that only store and controller may know, from the requests that the store has got. */
  secrets(): Promise<(string | null | undefined)[]>;
  /** The forbidden things that clients did. */
  violations(): Promise<string[]>;
}

const bearer = ({ headers }: { headers: Record<string, string> }) => headers.authorization?.replace('Bearer ', '');

/** The account that the assertion in a form names. */
function assertedBy(form: string): string | null {
  const claims = new URLSearchParams(form).get('assertion')?.split('.')[1];
  if (claims === undefined) return null;
  const bytes = Uint8Array.fromBase64(claims, { alphabet: 'base64url' });
  return (JSON.parse(new TextDecoder().decode(bytes)) as { iss: string }).iss;
}

/** Prepares the faults with which a store says most, and begins anew. */
const PREPARE: Record<SubmitOptions['store'], (answers: string[]) => Promise<Prepared>> = {
  'google-play': async (answers) => {
    const { control, strangerUrl } = google;
    const release = await aRelease(CONTENT);
    const email = `${release.appId.slice(-8)}@tests.iam.gserviceaccount.com`;
    await control.app(release.appId);
    await control.file(release.appId, await sha256Of(bytesOf(CONTENT)), 7);
    const tokenUri = `${strangerUrl}/token`;
    const serviceAccount = await control.account(email, { apps: [release.appId], tokenUri });
    await setKey(release, { store: 'google-play', serviceAccount }, answers);
    await control.fault(release.appId, { on: 'insert', act: { kind: 'say', status: 503, says: ECHO } });
    await control.fault(release.appId, { on: 'open', act: { kind: 'lose' } });
    await control.fault(release.appId, { on: 'chunk', act: { kind: 'cut' } });
    await control.fault(release.appId, { on: 'put-track', act: { kind: 'refuse', refusal: 'edit_deleted' } });
    await control.fault(release.appId, { on: 'commit', act: { kind: 'lose' } });
    return {
      release,
      pem: (JSON.parse(serviceAccount) as { private_key: string }).private_key,
      secrets: async () =>
        (await control.requests())
          .filter(({ url, body }) => url.includes(release.appId) || assertedBy(body) === email)
          .flatMap((request) => [
            bearer(request),
            new URL(request.url, 'http://x').searchParams.get('upload_id'),
            new URLSearchParams(request.body).get('assertion'),
          ]),
      violations: control.violations,
    };
  },
  'app-store-connect': async (answers) => {
    const { control, BUILD_NUMBER, VERSION } = apple;
    const app = { version: VERSION, buildNumber: BUILD_NUMBER };
    const release = await aRelease(CONTENT, { store: 'app-store-connect', app });
    expect(appOf(app)).toMatchObject(app);
    const key = await control.account();
    await control.app(key.keyId, { bundleId: release.appId });
    await setKey(release, { store: 'app-store-connect', ...key, issuerId: key.issuerId ?? undefined }, answers);
    await control.fault(key.keyId, { on: 'create', act: { kind: 'lose' } });
    await control.fault(key.keyId, { on: 'reserve', act: { kind: 'lose' } });
    await control.fault(key.keyId, { on: 'chunk', act: { kind: 'cut' } });
    await control.fault(key.keyId, { on: 'commit', act: { kind: 'lose' } });
    const kidOf = (token: string) => {
      const header = Uint8Array.fromBase64(token.split('.')[0]!, { alphabet: 'base64url' });
      return (JSON.parse(new TextDecoder().decode(header)) as { kid: string }).kid;
    };
    return {
      release,
      pem: key.privateKey,
      secrets: async () =>
        (await control.requests()).flatMap((request) => {
          if (request.operation === 'chunk') return [request.url];
          const token = bearer(request);
          return token?.startsWith('eyJ') && kidOf(token) === key.keyId ? [token] : [];
        }),
      violations: control.violations,
    };
  },
};

/** Reads all that R2 holds but the files of builds. */
async function contentsOfBuckets(): Promise<string> {
  const { objects } = await env.BLOBS.list({ include: ['customMetadata', 'httpMetadata'] });
  const small = objects.filter(({ size }) => size < 100_000);
  const texts = await Promise.all(small.map(async ({ key }) => (await env.BLOBS.get(key))?.text()));
  return JSON.stringify([objects, texts]);
}

test.for([
  ['google-play', google.addresses],
  ['app-store-connect', apple.addresses],
] as const)(
  'a run to %s leaves none of its secrets in a row, an object, a log or an answer',
  async ([store, addresses]) => {
    stepsOfTests.addresses = addresses;
    const seen = { logs: [] as string[], answers: [] as string[], objects: [] as string[], kept: [] as string[] };
    for (const level of ['log', 'info', 'warn', 'error', 'debug'] as const)
      vi.spyOn(console, level).mockImplementation((...given) => void seen.logs.push(given.map(String).join(' ')));
    console.info('This line is seen.');
    const { release, pem, secrets, violations } = await PREPARE[store](seen.answers);
    const id = await submitBy(release, store, seen.answers);
    const ended = await untilEnded(id, async () => {
      const stored = await runInDurableObject(uploadOf(id), (_, { storage }) => JSON.stringify([...storage.kv.list()]));
      seen.objects.push(stored);
      seen.kept.push(JSON.stringify(await contentsOfTables()));
    });
    expect(ended.state).toBe('done');
    seen.kept.push(await contentsOfBuckets());
    for (const path of [
      `/api/submissions/${id}`,
      `/api/builds/${release.buildId}`,
      `/api/builds/${release.buildId}/submissions`,
      `/api/projects/${release.project}/submissions`,
      `/api/projects/${release.project}/store-keys`,
      '/api/audit?limit=100',
    ])
      seen.answers.push(await (await call(path, env.ADMIN_KEY)).text());

    const lines = pem.match(/[A-Za-z0-9+/]{40,}/g) ?? [];
    const known = new Set([...lines, ...(await secrets())].filter((secret) => typeof secret === 'string'));
    // Lines of the key, and several tokens and addresses: each was there to be found.
    expect(known.size).toBeGreaterThan(lines.length + 4);
    for (const [where, texts] of Object.entries(seen)) {
      expect([where, texts.length > 0]).toEqual([where, true]);
      const whole = texts.join('\n');
      for (const secret of known) expect([where, whole.includes(secret)]).toEqual([where, false]);
      for (const sign of ['ya29.', 'upload_id', 'BEGIN PRIVATE', 'eyJhbGciOi'])
        expect([where, sign, whole.includes(sign)]).toEqual([where, sign, false]);
    }
    expect(await violations()).toEqual([]);
  },
);
