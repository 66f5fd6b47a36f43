/** Makes a release in each of the stand-ins of the stores, for submissions with faults at random. */
import { env } from 'cloudflare:workers';
import type { Store } from '#contract';
import { appStore } from '../../../controller/stores/app-store.ts';
import { play } from '../../../controller/stores/play.ts';
import type { StoreAddresses, StoreSteps } from '../../../controller/stores/step.ts';
import { bytesOf, call, sha256Of, unique } from '../factories/rows.ts';
import { aRelease, type Release } from '../factories/submissions.ts';
import * as apple from '../stores/app-store-driver.ts';
import * as google from '../stores/play-driver.ts';
import { STORE_KEY, setKey } from '../stores/submitting.ts';

/** The store's record of the number that is submitted. */
export interface Truth {
  /** Whether our file is there, processed or not. */
  there: boolean;
  /** How often the store got the file and used up its number. */
  times: number;
  /** Whether it is there with the right bytes, and released as was asked. */
  right: boolean;
  /** Whether all that was there before is there still. */
  kept: boolean;
}

export interface InStore {
  release: Release;
  /** Requests fail at random, in this share of them. */
  unrest(seed: number, share: number): Promise<void>;
  /** Sets the store key anew. The store no longer takes the old one. */
  rotate(): Promise<void>;
  /** The store no longer takes the key. */
  revoke(): Promise<void>;
  /** Lets the store act of itself: it ends edits, or takes back what it has given. */
  odd(pick: number): Promise<void>;
  truth(): Promise<Truth>;
}

interface StoreOfRuns {
  steps: StoreSteps<never>;
  addresses: StoreAddresses;
  options: object;
  /** Makes a release in a store whose contents and behaviour are drawn at random. */
  make(random: () => number): Promise<InStore>;
  violations(): Promise<string[]>;
}

export const STORES_OF_RUNS: Record<Store, StoreOfRuns> = {
  'app-store-connect': {
    steps: appStore,
    addresses: apple.addresses,
    options: { groups: ['Team'], whatToTest: 'All of it.' },
    make: inAppStore,
    violations: apple.control.violations,
  },
  'google-play': {
    steps: play,
    addresses: google.addresses,
    options: {},
    make: inPlay,
    violations: google.control.violations,
  },
};

async function inAppStore(random: () => number): Promise<InStore> {
  const { control, VERSION, BUILD_NUMBER } = apple;
  const app = { version: VERSION, buildNumber: BUILD_NUMBER };
  const release = await aRelease(`${unique('ipa')} in chunks, `.repeat(4_000), { store: 'app-store-connect', app });
  const first = await control.account({ role: random() < 0.2 ? 'DEVELOPER' : 'APP_MANAGER' });
  const foreign = random() < 0.1 ? [app] : [];
  const ascAppId = await control.app(first.keyId, {
    ...{ bundleId: release.appId, groups: [{ name: 'Team' }], builds: foreign, polls: Math.floor(random() * 4) },
    errors: random() < 0.1 ? ['90683'] : [],
  });
  const theirs =
    foreign.length === 0 && random() < 0.3 ? await control.addUpload(ascAppId, VERSION, BUILD_NUMBER) : null;
  let key = first;
  const set = () => setKey(release, { store: 'app-store-connect', ...key, issuerId: key.issuerId ?? undefined });
  await set();
  return {
    release,
    unrest: (seed, share) => control.unrest(first.keyId, seed, share),
    rotate: async () => {
      const old = key;
      key = await control.account({ team: first.keyId });
      await set();
      await control.revoke(old.keyId);
    },
    revoke: () => control.revoke(key.keyId),
    odd: (pick) =>
      control.fault(
        first.keyId,
        pick < 0.5
          ? { on: 'chunk', act: { kind: 'expire' }, times: 2 }
          : { on: 'files', act: { kind: 'hide' }, times: 1 },
      ),
    truth: async () => {
      const { builds, uploads } = await control.state(ascAppId);
      const sent = uploads.filter(({ sha256, id }) => sha256 !== null && id !== theirs);
      const taken = sent.filter(({ state }) => state !== 'FAILED');
      return {
        there: taken.length > 0,
        times: taken.length,
        right: builds.length === 1 && builds[0]!.upload === taken[0]?.id && taken[0]?.sha256 === release.sha256,
        kept:
          (theirs === null || uploads.some(({ id }) => id === theirs)) &&
          builds.filter(({ upload }) => upload === null).length === foreign.length,
      };
    },
  };
}

async function inPlay(random: () => number): Promise<InStore> {
  const { control } = google;
  const content = `${unique('aab')} in blocks, `.repeat(25_000);
  const release = await aRelease(content);
  const sha256 = await sha256Of(bytesOf(content));
  const email = `${release.appId.slice(-8)}@tests.iam.gserviceaccount.com`;
  const kind = 'bundles' as const;
  const foreign = random() < 0.1 ? [{ versionCode: 7, kind, sha256: '0'.repeat(64) }] : [];
  const mine = foreign.length === 0 && random() < 0.1 ? [{ versionCode: 7, kind, sha256 }] : [];
  await control.app(release.appId, {
    ...{ library: [...foreign, ...mine], draft: random() < 0.2, draftSeenAt: random() < 0.5 ? 'commit' : 'put-track' },
    review: random() < 0.2 ? 'by-hand' : 'automatic',
  });
  await control.file(release.appId, sha256, 7);
  let serviceAccount = await control.account(email, { apps: [release.appId] });
  const set = () => setKey(release, { store: 'google-play', serviceAccount });
  const revoke = async (file: string) => {
    await control.revoke((JSON.parse(file) as { private_key_id: string }).private_key_id);
    await control.endTokens(email);
  };
  await set();
  return {
    release,
    unrest: async (seed, share) => {
      await control.unrest(release.appId, seed, share);
      // Refusals of a token's form are about the key, and end the submission.
      await control.unrest(email, seed, 0);
    },
    rotate: async () => {
      const old = serviceAccount;
      serviceAccount = await control.account(email, { apps: [release.appId] });
      await set();
      await revoke(old);
    },
    revoke: () => revoke(serviceAccount),
    odd: (pick) =>
      pick < 0.3 ? control.endTokens(email) : control.endEdits(release.appId, pick < 0.6 ? 'deleted' : 'expired'),
    truth: async () => {
      const { commits, library, tracks } = await control.state(release.appId);
      const times = commits[7] ?? 0;
      const released = (tracks.internal ?? []).some(({ versionCodes }) => versionCodes.includes('7'));
      const file = library.find(({ versionCode }) => versionCode === 7);
      return {
        there: file?.sha256 === sha256 && released,
        times,
        right: times === 1 - mine.length && file?.sha256 === sha256 && released,
        kept: library.length === foreign.length + mine.length + times,
      };
    },
  };
}

/** Deletes the store key, as an admin may do in the middle of a submission. */
export const deleteStoreKey = ({ project }: Release): Promise<Response> =>
  call(`/api/projects/${project}/store-keys/${STORE_KEY}`, env.ADMIN_KEY, { method: 'DELETE' });

export const revokeKeyOf = ({ key }: Release): Promise<Response> =>
  call(`/api/keys/${key.id}`, env.ADMIN_KEY, { method: 'DELETE' });
