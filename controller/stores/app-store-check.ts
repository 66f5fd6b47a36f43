/**
 * Asks App Store Connect before a build whether it would take the app.
 *
 * Invariant: nothing in the store is changed. A question that it does not answer in time becomes a warning.
 */
import { AppsAnswer } from './app-store/answers.ts';
import { buildOf, closedBy, closedWords, findApp, hasTakenNumber, highestOf, uploadsOf } from './app-store/looks.ts';
import { AppStoreBusy, AppStoreRefused, reasonOf } from './app-store/refusals.ts';
import { type AppStoreCaller, callerOf, read } from './app-store/requests.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import type { StoreCheck } from './store-check.ts';
import { StoreUnreachable } from './store-request.ts';

/** Whether Apple takes the key. Its role shows only when it is used. */
export async function checkAppStoreKey(
  key: OpenedStoreKey,
  addresses: StoreAddresses,
  signal: AbortSignal,
): Promise<StoreCheck> {
  return settled(async () => {
    await read(callerOf(key, addresses, signal), '/v1/apps', { 'fields[apps]': 'bundleId', limit: 1 }, AppsAnswer);
    return { refusals: [], warnings: [] };
  });
}

interface AppStoreQuestion {
  /** The bundle id. */
  appId: string;
  /** Null: the app is looked up by its bundle id. */
  ascAppId: string | null;
  /** CFBundleShortVersionString and CFBundleVersion. Null if they are not known yet. */
  version: string | null;
  buildNumber: string | null;
}

/** Checks the key, the agreements, the app, whether the number is free and whether the version is open. */
export async function checkAppStore(
  key: OpenedStoreKey,
  { appId, ascAppId, version, buildNumber }: AppStoreQuestion,
  addresses: StoreAddresses,
  signal: AbortSignal,
): Promise<StoreCheck> {
  const caller = callerOf(key, addresses, signal);
  return settled(async () => {
    const app = await findApp(caller, appId, ascAppId);
    if ('reason' in app) return { refusals: [app], warnings: [] };
    if (version === null) return { refusals: [], warnings: [] };
    const [train, number] = await Promise.all([
      settled(() => checkVersion(caller, app.id, version)),
      settled(() => checkNumber(caller, { appleId: app.id, version, buildNumber })),
    ]);
    return {
      refusals: [...train.refusals, ...number.refusals],
      warnings: [...new Set([...train.warnings, ...number.warnings])],
    };
  });
}

async function checkVersion(caller: AppStoreCaller, appleId: string, version: string): Promise<StoreCheck> {
  const closed = await closedBy(caller, appleId, version);
  if (closed === 'unknown')
    return { refusals: [], warnings: ['The role of the key does not allow to look whether the version is open.'] };
  if (closed === null) return { refusals: [], warnings: [] };
  const storeWords = closedWords(version, closed);
  return { refusals: [{ reason: 'version_closed', storeWords }], warnings: [] };
}

async function checkNumber(
  caller: AppStoreCaller,
  { appleId, version, buildNumber }: { appleId: string; version: string; buildNumber: string | null },
): Promise<StoreCheck> {
  if (buildNumber === null) return { refusals: [], warnings: [] };
  const numbered = { appleId, version, buildNumber };
  const [build, uploads] = await Promise.all([buildOf(caller, numbered), uploadsOf(caller, numbered)]);
  const used = build ?? uploads.find(hasTakenNumber);
  if (!used) return { refusals: [], warnings: [] };
  const storeWords = `App Store Connect has build ${buildNumber} of version ${version}.`;
  return { refusals: [{ reason: 'build_number_used', storeWords }], warnings: [] };
}

/** `highest`: 0 if the app has no build with a whole number. Null: it is not known, and there is a reason. */
type AppStoreHighest = StoreCheck & { highest: number | null };

/** Finds the first number of a counter. Ignores build numbers with dots. */
export async function highestBuildNumber(
  key: OpenedStoreKey,
  { appId, ascAppId }: Pick<AppStoreQuestion, 'appId' | 'ascAppId'>,
  addresses: StoreAddresses,
  signal: AbortSignal,
): Promise<AppStoreHighest> {
  const caller = callerOf(key, addresses, signal);
  let highest: number | null = null;
  const check = await settled(async () => {
    const app = await findApp(caller, appId, ascAppId);
    if ('reason' in app) return { refusals: [app], warnings: [] };
    highest = await highestOf(caller, app.id);
    return { refusals: [], warnings: [] };
  });
  return { ...check, highest };
}

/** A question that the store did not answer becomes a warning. One that it refused becomes a refusal. */
async function settled(check: () => Promise<StoreCheck>): Promise<StoreCheck> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof AppStoreRefused)
      return { refusals: [{ reason: reasonOf(error), storeWords: error.message }], warnings: [] };
    if (error instanceof StoreUnreachable || error instanceof AppStoreBusy)
      return { refusals: [], warnings: [`Not everything was checked. ${error.message}`] };
    throw error;
  }
}
