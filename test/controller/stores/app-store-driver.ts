/** Runs the steps of App Store Connect as a submission's Durable Object does, with a clock of its own. */
import { inject } from 'vitest';
import type { AppStoreSubmit } from '#contract';
import { appStore } from '../../../controller/stores/app-store.ts';
import {
  type OpenedStoreKey,
  type Step,
  type StepContext,
  type StepData,
  type StepResult,
  type StoreAddresses,
  whyLate,
} from '../../../controller/stores/step.ts';
import type { AppleAccountOptions, AppleAppOptions, AppleControl } from '../../set-up/stores/app-store/control.ts';
import { unique } from '../factories/rows.ts';
import { controlOf } from './control-of.ts';

const { url } = inject('appStore');

export const addresses: StoreAddresses = {
  appStoreConnect: url,
  googleToken: 'http://127.0.0.1:1',
  googlePlay: 'http://127.0.0.1:1',
  uploadHosts: { apple: ['127.0.0.1'], google: [] },
  insecure: true,
};

export const control = controlOf<AppleControl>(url);

export const VERSION = '1.2.0';
export const BUILD_NUMBER = '7';

/** Bytes that only depend on where they stand. */
const fileOf = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(size).map((_, index) => (index * 7) % 251);

export interface World {
  bundleId: string;
  ascAppId: string;
  key: Extract<OpenedStoreKey, { store: 'app-store-connect' }>;
  file: Uint8Array<ArrayBuffer>;
  sha256: string;
}

/** An app in App Store Connect, a key for it, and an .ipa of version 1.2.0 with build number 7. */
export async function aWorld(
  app: Partial<AppleAppOptions> = {},
  account: AppleAccountOptions = {},
  size = 300_000,
): Promise<World> {
  const bundleId = `com.example.${unique('app').replaceAll(/\W/g, '')}`;
  const key = await control.account(account);
  const ascAppId = await control.app(key.keyId, { bundleId, ...app });
  const file = fileOf(size);
  const sha256 = new Uint8Array(await crypto.subtle.digest('SHA-256', file)).toHex();
  return { bundleId, ascAppId, key: { store: 'app-store-connect', ...key }, file, sha256 };
}

export interface Ended {
  result: Extract<StepResult, { kind: 'done' | 'failed' }>;
  warnings: string[];
  /** The steps in their order, one for each invocation. */
  steps: string[];
  sentBytes: number;
  /** How long it took by its own clock. */
  tookMs: number;
  /** All that was stored or shown, but for what is sealed. */
  seen: string;
  data: StepData;
}

export interface Manner {
  options?: Partial<AppStoreSubmit>;
  /** Whether the process dies after this invocation, before its result is stored. */
  crash?: (invocation: number) => boolean;
  /** Called before each invocation. A submission that is cancelled is cleaned up. */
  before?: (step: string) => Promise<'cancel' | undefined>;
  usesNonExemptEncryption?: boolean | null;
  /** When an earlier record, which was lost, had begun its upload. */
  uploadBeganAt?: number;
}

const RETRY_MS = 5_000;
const RETRY_MAX_MS = 300_000;
const INVOCATIONS_MAX = 500;

export class Cancelled extends Error {}

/** @throws {Cancelled} */
export async function submit(world: World, manner: Manner = {}): Promise<Ended> {
  let now = Date.now();
  const began = now;
  let step = appStore.first;
  let data: StepData = { plain: {}, secret: {} };
  let stepBegan = now;
  let uploadBeganAt = manner.uploadBeganAt ?? null;
  let sentBytes = 0;
  let retries = 0;
  const steps: string[] = [];
  const warnings: string[] = [];
  const seen: unknown[] = [];
  const context = (): StepContext<AppStoreSubmit> => ({
    artifact: {
      name: 'app.ipa',
      kind: 'ipa',
      size: world.file.length,
      sha256: world.sha256,
      app: {
        id: world.bundleId,
        version: VERSION,
        buildNumber: BUILD_NUMBER,
        usesNonExemptEncryption: manner.usesNonExemptEncryption ?? null,
      },
    },
    options: { store: 'app-store-connect', locale: 'en-US', ...manner.options },
    key: world.key,
    addresses,
    now,
    uploadBeganAt,
    signal: new AbortController().signal,
    bytes: async (offset, length) => new Blob([world.file.subarray(offset, offset + length)]).stream(),
  });
  const cleanUp = () => appStore.cleanUp(context(), structuredClone(data)).catch(() => {});
  const ended = (result: Ended['result']): Ended => ({
    result,
    warnings,
    steps,
    sentBytes,
    tookMs: now - began,
    seen: JSON.stringify(seen),
    data,
  });
  const late = (known: Step<AppStoreSubmit>, storeWords: string | null): Ended =>
    known.isThere
      ? ended({ kind: 'done', says: 'late' })
      : ended({ kind: 'failed', reason: whyLate(known), storeWords });
  for (let invocation = 0; invocation < INVOCATIONS_MAX; invocation++) {
    const known = appStore.steps[step];
    if (!known) throw new Error(`there is no step ${step}`);
    if ((await manner.before?.(step)) === 'cancel') {
      await cleanUp();
      throw new Cancelled();
    }
    if (known.state !== 'waiting') uploadBeganAt ??= now;
    steps.push(step);
    const result = await known.run(context(), structuredClone(data));
    if (manner.crash?.(invocation)) continue;
    seen.push(step, data.plain, { ...result, data: undefined });
    if (result.kind === 'done' || result.kind === 'failed') {
      warnings.push(...((result.kind === 'done' && result.warnings) || []));
      if (result.kind === 'failed') await cleanUp();
      return ended(result);
    }
    if (result.kind === 'retry') {
      now += result.afterMs ?? Math.min(RETRY_MS * 2 ** retries++, RETRY_MAX_MS);
      if (now - stepBegan <= known.limitMs) continue;
      return late(known, result.why);
    }
    retries = 0;
    data = structuredClone(result.data);
    if (result.kind === 'wait') {
      now += result.afterMs;
      if (now - stepBegan > known.limitMs) return late(known, null);
      continue;
    }
    warnings.push(...(result.warnings ?? []));
    if (result.step !== step || result.sentBytes !== undefined) stepBegan = now;
    sentBytes = result.sentBytes ?? sentBytes;
    step = result.step;
  }
  throw new Error(`the submission did not end: ${steps.join(' ')}`);
}
