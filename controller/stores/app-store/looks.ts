/** Looks into App Store Connect without changing anything: apps, builds, uploads, versions. */
import type { SubmissionReason } from '#contract';
import {
  AppAnswer,
  AppsAnswer,
  type Build,
  BuildNumbersAnswer,
  BuildsAnswer,
  type BuildUpload,
  BuildUploadsAnswer,
  VersionsAnswer,
} from './answers.ts';
import { AppStoreRefused, reasonOf } from './refusals.ts';
import { type AppStoreCaller, read, readAll } from './requests.ts';

export interface Refused {
  reason: SubmissionReason;
  storeWords: string;
}

/**
 * The numeric id of the app. Apple's filter also finds apps whose bundle id only begins alike.
 *
 * Throws as `read`.
 */
export async function findApp(
  caller: AppStoreCaller,
  bundleId: string,
  ascAppId: string | null,
): Promise<{ id: string } | Refused> {
  if (ascAppId === null) {
    const query = { 'filter[bundleId]': bundleId, 'fields[apps]': 'bundleId', limit: 200 };
    const { data } = await read(caller, '/v1/apps', query, AppsAnswer);
    const app = data.find(({ attributes }) => attributes.bundleId === bundleId);
    return app ?? notFound(`The key sees no app with the bundle id ${bundleId} in App Store Connect.`);
  }
  try {
    const { data } = await read(caller, `/v1/apps/${ascAppId}`, { 'fields[apps]': 'bundleId' }, AppAnswer);
    if (data.attributes.bundleId === bundleId) return data;
    const other = `The app ${ascAppId} in App Store Connect has another bundle id than ${bundleId}.`;
    return { reason: 'app_mismatch', storeWords: other };
  } catch (error) {
    if (!(error instanceof AppStoreRefused) || error.status !== 404) throw error;
    return notFound(`The key sees no app ${ascAppId} in App Store Connect.`);
  }
}

const notFound = (storeWords: string): Refused => ({ reason: 'app_not_found', storeWords });

/** An app's version and build number: CFBundleShortVersionString and CFBundleVersion. */
export interface Numbered {
  appleId: string;
  version: string;
  buildNumber: string;
}

/** The build of this number, if the store has one. Throws as `read`. */
export async function buildOf(caller: AppStoreCaller, { appleId, version, buildNumber }: Numbered) {
  const query = {
    'filter[app]': appleId,
    'filter[version]': buildNumber,
    'filter[preReleaseVersion.version]': version,
    'filter[preReleaseVersion.platform]': 'IOS',
    'fields[builds]': 'version,processingState,usesNonExemptEncryption,buildUpload',
    'fields[buildUploads]': 'cfBundleVersion',
    include: 'buildUpload',
    limit: 10,
  };
  const { data } = await read(caller, '/v1/builds', query, BuildsAnswer);
  const builds: Build[] = data.filter((build) => build.attributes.version === buildNumber);
  return builds.find(({ attributes }) => attributes.processingState !== 'FAILED') ?? builds[0] ?? null;
}

/** All uploads of this number, also those that have become no build. Throws as `read`. */
export async function uploadsOf(
  caller: AppStoreCaller,
  { appleId, version, buildNumber }: Numbered,
): Promise<BuildUpload[]> {
  const query = {
    'filter[cfBundleShortVersionString]': version,
    'filter[cfBundleVersion]': buildNumber,
    'filter[platform]': 'IOS',
    'fields[buildUploads]': 'cfBundleShortVersionString,cfBundleVersion,state',
    limit: 200,
  };
  const { data } = await read(caller, `/v1/apps/${appleId}/buildUploads`, query, BuildUploadsAnswer);
  const ours = ({ attributes }: BuildUpload) =>
    attributes.cfBundleVersion === buildNumber && attributes.cfBundleShortVersionString === version;
  return data.filter(ours);
}

/** Whether an upload has used its number up, or is about to. */
export const hasTakenNumber = ({ attributes }: BuildUpload): boolean =>
  attributes.state.state === 'PROCESSING' || attributes.state.state === 'COMPLETE';

/** States of a version after its review. It then takes no further build. */
const CLOSED = new Set([
  'READY_FOR_DISTRIBUTION',
  'PROCESSING_FOR_DISTRIBUTION',
  'PENDING_APPLE_RELEASE',
  'REPLACED_WITH_NEW_VERSION',
]);

/**
 * The approved version that closes this one: it is the same or higher. Null if this one is open, or if the
 * two cannot be compared. `unknown` if the key may not look.
 *
 * Throws as `read`.
 */
export async function closedBy(
  caller: AppStoreCaller,
  appleId: string,
  version: string,
): Promise<string | 'unknown' | null> {
  const query = {
    'filter[platform]': 'IOS',
    'fields[appStoreVersions]': 'versionString,appVersionState',
    limit: 200,
  };
  try {
    const { data } = await read(caller, `/v1/apps/${appleId}/appStoreVersions`, query, VersionsAnswer);
    const closed = data
      .map(({ attributes }) => attributes)
      .find((other) => CLOSED.has(other.appVersionState ?? '') && isAtLeast(other.versionString, version));
    return closed?.versionString ?? null;
  } catch (error) {
    if (error instanceof AppStoreRefused && reasonOf(error) === 'role_missing') return 'unknown';
    throw error;
  }
}

export const closedWords = (version: string, closed: string): string =>
  `App Store Connect has approved version ${closed}. Version ${version} takes no more builds.`;

/** Compares versions such as 1.10.0 part by part. */
function isAtLeast(version: string, other: string): boolean {
  const [a, b] = [partsOf(version), partsOf(other)];
  if (!a || !b) return false;
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

const partsOf = (version: string): number[] | null =>
  /^\d{1,9}(\.\d{1,9}){0,3}$/.test(version) ? version.split('.').map(Number) : null;

/** Builds of an app that are looked at for the highest number: 1,000 of them at most, the newest first. */
const BUILD_PAGES_MAX = 5;

/**
 * The highest build number of an app that is a whole number, over all versions. 0 if there is none. An upload
 * that is being processed counts, although it is no build yet. Builds are looked at until a page has no
 * number above those of the newer ones. A higher one that is older is of an earlier version, and Apple takes
 * a number once for each version.
 *
 * Throws as `read`.
 */
export async function highestOf(caller: AppStoreCaller, appleId: string): Promise<number> {
  const builds = {
    'filter[app]': appleId,
    'filter[preReleaseVersion.platform]': 'IOS',
    'fields[builds]': 'version',
    sort: '-uploadedDate',
  };
  const uploads = {
    'filter[platform]': 'IOS',
    'filter[state]': 'PROCESSING,COMPLETE',
    'fields[buildUploads]': 'cfBundleVersion',
    sort: '-uploadedDate',
  };
  const path = `/v1/apps/${appleId}/buildUploads`;
  const found = await Promise.all([
    readAll(caller, '/v1/builds', builds, BuildNumbersAnswer, BUILD_PAGES_MAX, (page, newer) => {
      const known = highestIn(newer);
      return known === 0 || highestIn(page) > known;
    }),
    readAll(caller, path, uploads, BuildNumbersAnswer, 1),
  ]);
  return highestIn(found.flat());
}

const highestIn = (found: readonly { attributes: { version?: string | null; cfBundleVersion?: string | null } }[]) =>
  found
    .map(({ attributes }) => attributes.version ?? attributes.cfBundleVersion ?? '')
    .filter((number) => /^\d+$/.test(number))
    .map(Number)
    .filter(Number.isSafeInteger)
    .reduce((highest, number) => Math.max(highest, number), 0);
