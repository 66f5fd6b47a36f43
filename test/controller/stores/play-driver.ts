/** Runs the steps of Google Play as the Durable Object of a submission does, with a clock of its own. */
import { inject } from 'vitest';
import type { PlaySubmit } from '#contract';
import { play } from '../../../controller/stores/play.ts';
import { parseServiceAccount } from '../../../controller/stores/play-check.ts';
import {
  type OpenedStoreKey,
  type StepContext,
  type StepData,
  type StepResult,
  type StoreAddresses,
  whyLate,
} from '../../../controller/stores/step.ts';
import type { PlayAppOptions, PlayControl } from '../../set-up/stores/play/control.ts';
import { unique } from '../factories/rows.ts';
import { controlOf } from './control-of.ts';

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

async function sha256At(size: number): Promise<string> {
  const digest = new crypto.DigestStream('SHA-256');
  await bytesAt(0, size).pipeTo(digest);
  return new Uint8Array(await digest.digest).toHex();
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

export interface Ended {
  result: Extract<StepResult, { kind: 'done' | 'failed' }>;
  warnings: string[];
  /** The steps in their order, one for each invocation. */
  steps: string[];
  sentBytes: number;
  /** How often a part was read, by invocation. */
  parts: number[];
  /** How long it took by its own clock. */
  tookMs: number;
  /** All that was stored or shown, but for what is sealed. */
  seen: string;
  data: StepData;
}

export interface Manner {
  options?: Partial<PlaySubmit>;
  /** Whether the process dies after this invocation, before its result is stored. */
  crash?: (invocation: number) => boolean;
  /** Shares one clock with other submissions. */
  turns?: Turns;
}

/** Lets of several submissions always that one run whose clock is behind. */
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

const INVOCATIONS_MAX = 400;

/** What an invocation takes by the clock of the submission. */
const INVOCATION_MS = 500;

export function contextOf(world: World, options: Partial<PlaySubmit> = {}): Omit<StepContext<PlaySubmit>, 'bytes'> {
  const { app, key, versionCode, sha256, size, kind } = world;
  const artifact = {
    name: `app.${kind}`,
    kind,
    size,
    sha256,
    app: { id: app, version: '1.0.0', buildNumber: String(versionCode), usesNonExemptEncryption: null },
  };
  const signal = AbortSignal.timeout(60_000);
  return {
    artifact,
    options: { ...OPTIONS, ...options },
    key,
    addresses,
    now: Date.now(),
    uploadBeganAt: null,
    signal,
  };
}

export async function submit(world: World, manner: Manner = {}): Promise<Ended> {
  try {
    return await run(world, manner);
  } finally {
    manner.turns?.leave(world);
  }
}

async function run(world: World, manner: Manner): Promise<Ended> {
  const base = contextOf(world, manner.options);
  const ended: Ended = {
    result: { kind: 'failed', reason: 'internal', storeWords: 'it never ended' },
    warnings: [],
    steps: [],
    sentBytes: 0,
    parts: [],
    tookMs: 0,
    seen: '',
    data: { plain: {}, secret: {} },
  };
  let [name, now, tries, uploadBeganAt] = [play.first, base.now, 0, null as number | null];
  let since = now;
  for (let invocation = 0; invocation < INVOCATIONS_MAX; invocation++) {
    const step = play.steps[name]!;
    if (now - since > step.limitMs) {
      const reason = whyLate(step);
      return { ...ended, tookMs: now - base.now, result: { kind: 'failed', reason, storeWords: 'late' } };
    }
    if (step.state === 'uploading') uploadBeganAt ??= now;
    now += INVOCATION_MS;
    await manner.turns?.turn(world, now);
    ended.steps.push(name);
    let parts = 0;
    const bytes = async (offset: number, length: number) => {
      parts += 1;
      return bytesAt(offset, length);
    };
    const result = await step.run({ ...base, now, uploadBeganAt, bytes }, structuredClone(ended.data));
    ended.parts.push(parts);
    if (manner.crash?.(invocation)) continue;
    const { data, ...shown } = { data: null, ...result };
    ended.seen += JSON.stringify([shown, (data as StepData | null)?.plain]);
    if (result.kind === 'done' || result.kind === 'failed') {
      if (result.kind === 'done') ended.warnings.push(...(result.warnings ?? []));
      return { ...ended, tookMs: now - base.now, result };
    }
    if (result.kind === 'next') {
      if (result.step !== name || (result.sentBytes ?? 0) > ended.sentBytes) since = now;
      if (result.step !== name) tries = 0;
      name = result.step;
      ended.warnings.push(...(result.warnings ?? []));
      ended.sentBytes = result.sentBytes ?? ended.sentBytes;
    }
    if (result.kind !== 'retry') ended.data = JSON.parse(JSON.stringify(result.data));
    if (result.kind === 'wait') now += result.afterMs;
    if (result.kind === 'retry') now += result.afterMs ?? Math.min(60_000, 1_000 * 2 ** tries++);
  }
  return ended;
}
