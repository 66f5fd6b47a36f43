/** Submits an .ipa to the stand-in of App Store Connect by its steps alone. */
import { inject } from 'vitest';
import type { AppStoreSubmit } from '#contract';
import { appStore } from '../../../controller/stores/app-store.ts';
import type { OpenedStoreKey, StoreAddresses } from '../../../controller/stores/step.ts';
import type { AppleAccountOptions, AppleAppOptions, AppleControl } from '../../set-up/stores/app-store/control.ts';
import { unique } from '../factories/rows.ts';
import { controlOf } from './control-of.ts';
import { type Ended, type Manner, runSteps } from './run-steps.ts';

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

const files = new Map<number, { file: Uint8Array<ArrayBuffer>; sha256: string }>();
/** Bytes that only depend on where they stand. */
async function fileOf(size: number) {
  const known = files.get(size);
  if (known) return known;
  const file = new Uint8Array(size).map((_, index) => (index * 7) % 251);
  const made = { file, sha256: new Uint8Array(await crypto.subtle.digest('SHA-256', file)).toHex() };
  files.set(size, made);
  return made;
}

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
  return { bundleId, ascAppId, key: { store: 'app-store-connect', ...key }, ...(await fileOf(size)) };
}

export interface Asked extends Manner {
  options?: Partial<AppStoreSubmit>;
  usesNonExemptEncryption?: boolean | null;
}

/** @throws {Cancelled} */
export function submit(
  { bundleId, key, file, sha256 }: World,
  { options, usesNonExemptEncryption = null, ...manner }: Asked = {},
): Promise<Ended> {
  const app = { id: bundleId, version: VERSION, buildNumber: BUILD_NUMBER, usesNonExemptEncryption };
  const submitted = {
    artifact: { name: 'app.ipa', kind: 'ipa' as const, size: file.length, sha256, app },
    options: { store: 'app-store-connect' as const, locale: 'en-US', ...options },
    ...{ key, addresses },
    bytes: async (offset: number, length: number) => new Blob([file.subarray(offset, offset + length)]).stream(),
  };
  return runSteps(appStore, submitted, manner);
}
