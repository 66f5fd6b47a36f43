/** Submits a file to the stand-in of Google Play by its steps alone. */
import { inject } from 'vitest';
import type { PlaySubmit } from '#contract';
import { play } from '../../../controller/stores/play.ts';
import { parseServiceAccount } from '../../../controller/stores/play-check.ts';
import type { OpenedStoreKey, StoreAddresses } from '../../../controller/stores/step.ts';
import type { PlayAppOptions, PlayControl } from '../../set-up/stores/play/control.ts';
import { unique } from '../factories/rows.ts';
import { controlOf } from './control-of.ts';
import { type Ended, type Manner, runSteps } from './run-steps.ts';

const { url, tokenUrl, strangerUrl } = inject('play');

export { strangerUrl };

export const addresses: StoreAddresses = {
  appStoreConnect: 'http://127.0.0.1:1',
  googleToken: tokenUrl,
  googlePlay: url,
  uploadHosts: { apple: [], google: ['127.0.0.1'] },
  insecure: true,
};

export const control = controlOf<PlayControl>(url);

export const OPTIONS: PlaySubmit = {
  store: 'google-play',
  track: 'internal',
  releaseStatus: 'completed',
  changesNotSentForReview: false,
};

const BLOCK = new Uint8Array(64 * 1024).map((_, index) => (index * 7) % 251);

/** Bytes that only depend on where they stand. */
function bytesAt(offset: number, length: number): ReadableStream<Uint8Array> {
  let at = offset;
  const end = offset + length;
  return new ReadableStream({
    pull(controller) {
      const within = at % BLOCK.length;
      const part = BLOCK.slice(within, Math.min(BLOCK.length, within + end - at));
      at += part.length;
      controller.enqueue(part);
      if (at >= end) controller.close();
    },
  });
}

const digests = new Map<number, string>();
async function sha256At(size: number): Promise<string> {
  const known = digests.get(size);
  if (known !== undefined) return known;
  const digest = new crypto.DigestStream('SHA-256');
  await bytesAt(0, size).pipeTo(digest);
  const sha256 = new Uint8Array(await digest.digest).toHex();
  digests.set(size, sha256);
  return sha256;
}

export interface World {
  app: string;
  email: string;
  key: OpenedStoreKey;
  keyFile: string;
  versionCode: number;
  sha256: string;
  size: number;
  kind: 'aab' | 'apk';
}

/** An app in Google Play, a key that may change it, and a file of version code 7. */
export async function aWorld(app: PlayAppOptions = {}, size = 300_000, kind: World['kind'] = 'aab'): Promise<World> {
  const name = `com.example.${unique('app').replaceAll(/\W/g, '')}`;
  const email = `${unique('robot').replaceAll(/\W/g, '')}@tests.iam.gserviceaccount.com`;
  const sha256 = await sha256At(size);
  await control.app(name, app);
  await control.file(name, sha256, 7);
  const keyFile = await control.account(email, { apps: [name], tokenUri: `${strangerUrl}/token` });
  const parsed = await parseServiceAccount(keyFile);
  if (!parsed.ok) throw new Error(parsed.message);
  return { app: name, email, key: parsed.key, keyFile, versionCode: 7, sha256, size, kind };
}

export interface Asked extends Manner {
  options?: Partial<PlaySubmit>;
  /** Shares one clock with other submissions. */
  turns?: Turns;
}

/** Of several submissions, always lets the one run whose clock is behind. */
export class Turns {
  readonly #clocks = new Map<World, number>();
  #waiting: (() => void)[] = [];

  join(world: World, now: number): void {
    this.#clocks.set(world, now);
  }

  async turn(world: World, now: number): Promise<void> {
    this.#clocks.set(world, now);
    this.#wake();
    while ([...this.#clocks].some(([other, clock]) => other !== world && clock < now))
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(world: World): void {
    this.#clocks.delete(world);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** The duration of an invocation, by the clock of the submission. */
const INVOCATION_MS = 500;

function submittedOf(world: World, options: Partial<PlaySubmit> = {}) {
  const { app, key, versionCode, sha256, size, kind } = world;
  return {
    artifact: {
      ...{ name: `app.${kind}`, kind, size, sha256 },
      app: { id: app, version: '1.0.0', buildNumber: String(versionCode), usesNonExemptEncryption: null },
    },
    options: { ...OPTIONS, ...options },
    ...{ key, addresses },
    bytes: async (offset: number, length: number) => bytesAt(offset, length),
  };
}

export async function submit(world: World, { options, turns, ...manner }: Asked = {}): Promise<Ended> {
  const before = async (_: string, now: number) => void (await turns?.turn(world, now));
  try {
    return await runSteps(play, submittedOf(world, options), { before, invocationMs: INVOCATION_MS, ...manner });
  } finally {
    turns?.leave(world);
  }
}
