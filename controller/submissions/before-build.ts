/**
 * Asks a store, when a build is requested, what would make it refuse the app afterwards. It also asks for the
 * highest build number there, from which a counter begins.
 *
 * Invariants: both together take at most CHECK_MS. A question that a store does not answer by then becomes a
 * warning. A store is asked only with a key of the build's own project, for an app and a pool of this key.
 * Google Play is asked once at most, and never while a submission of the app is under way, because the new
 * edit would end that of the submission.
 */
import {
  type BuildRequest,
  buildNumberMax,
  STORE_OF_PLATFORM,
  SUBMISSION_WARNINGS_MAX,
  type SubmitOptions,
} from '#contract';
import { recordSeed } from '../access/audit.ts';
import { openDatabase } from '../database.ts';
import { type AppKey, canBeFirst, readCounter, seedCounter } from '../projects/build-numbers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { submissions } from '../schema/index.ts';
import { checkAppStore, highestBuildNumber } from '../stores/app-store-check.ts';
import { CHECK_MS, checkStoreKey } from '../stores/check-store-key.ts';
import { judgePlay, lookAtPlay, type PlayLook } from '../stores/play-check.ts';
import type { OpenedStoreKey, StoreAddresses } from '../stores/step.ts';
import type { StoreCheck } from '../stores/store-check.ts';
import { findStoreKeyFor, openStoreKey, whyOtherKey } from '../stores/store-keys.ts';
import { type StoreRefusal, storeRefusal } from '../stores/store-refusal.ts';
import { sameNumber, trainOf } from './create.ts';
import { findFirst } from './turns.ts';

/** The part of a request for a build that matters to a store. */
interface Requested {
  projectId: string;
  pool: string;
  platform: BuildRequest['platform'];
  app: BuildRequest['app'];
  /** Null if the build asks for no submission. */
  options: SubmitOptions | null;
}

/** The key that asks for a build. It has the right `stores` for the project and pool. */
interface Asker {
  id: string;
  name: string;
}

type Checked = { ok: true; warnings: string[] } | StoreRefusal | Refusal;

/**
 * Asks the store before a trusted build is added: for the first number of a counter, if the app has none, and
 * whether the build could be submitted.
 *
 * Refused: `store_refused` with the store's own words; `number_not_seeded` if the store does not tell the
 * number; `invalid_request` for the store of another platform; `inputs_key_missing` and `inputs_gone` for a
 * store key that does not open.
 */
export async function beforeBuild(
  env: Env,
  requested: Requested,
  by: Asker,
  addresses: StoreAddresses,
  now: number,
): Promise<Checked> {
  const asking = askingFor(env, requested.projectId, addresses);
  const { projectId, platform, app, options } = requested;
  const store = STORE_OF_PLATFORM[platform];
  if (options !== null && options.store !== store)
    return refusal('invalid_request', `submit.store: a build for ${platform} goes to ${store}`);
  if (app) {
    const key = { projectId, platform, appId: app.id };
    if (!canBeFirst(app.buildNumber ?? 0) && (await readCounter(env, key)).value === null) {
      const seeded = await seedFromStore(env, { ...requested, app: key, by }, addresses, now, asking);
      if (!seeded.ok) return seeded;
    }
  }
  return options === null ? { ok: true, warnings: [] } : check(env, { ...requested, options }, asking);
}

/** How the stores are asked for one request. */
interface Asking {
  addresses: StoreAddresses;
  signal: AbortSignal;
  lookAtPlay: (key: OpenedStoreKey, appId: string) => Promise<PlayLook>;
}

function askingFor(env: Env, projectId: string, addresses: StoreAddresses): Asking {
  const signal = AbortSignal.timeout(CHECK_MS);
  let look: Promise<PlayLook> | null = null;
  const begin = async (key: OpenedStoreKey, appId: string): Promise<PlayLook> => {
    const first = await findFirst(env, 'google-play', appId);
    if (first === null) return lookAtPlay(key, appId, addresses, signal);
    const which = first.projectId === projectId ? `submission ${first.id}` : 'a submission of another project';
    const why = `Google Play was not asked, because ${which} is on its way with this app.`;
    return { refusals: [], warnings: [why], there: null };
  };
  // One request is about one app, with one key.
  return { addresses, signal, lookAtPlay: (key, appId) => (look ??= begin(key, appId)) };
}

type ToSubmit = Requested & { options: SubmitOptions };

async function check(env: Env, requested: ToSubmit, asking: Asking): Promise<Checked> {
  const { projectId, pool, platform, app, options } = requested;
  const use = { projectId, pool, store: options.store, appId: app?.id, name: options.storeKey };
  const found = await findStoreKeyFor(env, use);
  // Without the app we cannot tell which of several keys is meant.
  if (!found.ok && found.choice && !app)
    return { ok: true, warnings: [NO_APP, `${inSubmit(found.message)}. ${OR_LATE}`] };
  if (!found.ok) return { ...found, message: inSubmit(found.message) };
  const otherKey = whyOtherKey(options, found.row);
  if (otherKey !== null)
    return { ...refusal('store_refused', `submit.${otherKey}`), reason: 'key_not_for_app' } satisfies StoreRefusal;
  const opened = await openStoreKey(env, found.row);
  if (!opened.ok) return opened;
  if (!app) {
    const accepted = await checkStoreKey(opened.key, asking.addresses, asking.signal);
    return accepted.ok ? { ok: true, warnings: [...accepted.warnings, NO_APP] } : accepted;
  }
  const { value: counter } = await readCounter(env, { projectId, platform, appId: app.id });
  const number = numberFor(counter, app.buildNumber);
  const [isHere, { refusals, warnings }] = await Promise.all([
    isSubmittedHere(env, options.store, app, number.value),
    ask(opened.key, options, app, number.value, asking),
  ]);
  // A counter may give another number than the one that the project has.
  const isSure = ({ reason }: StoreCheck['refusals'][number]) => reason !== 'build_number_used' || number.isSure;
  const refused = refusals.find(isSure);
  if (refused) return storeRefusal(refused);
  // The store does not know of a submission that is still on its way.
  const here = `${app.id} has a submission of build ${number.value} here already.`;
  if (isHere && number.isSure)
    return { ...refusal('store_refused', `app.buildNumber: ${here} Raise the number`), reason: 'build_number_used' };
  const taken = refusals.length === 0 && isHere ? [{ storeWords: here }] : refusals;
  const maybe = taken.map(({ storeWords }) =>
    `${storeWords ?? ''} ${takenNumber(requested, app.id, number.value)}`.trim(),
  );
  return { ok: true, warnings: [...warnings, ...maybe].slice(0, SUBMISSION_WARNINGS_MAX) };
}

/** A message about a field of `submit`. */
const inSubmit = (message: string): string => message.replace(/^storeKey: /, 'submit.storeKey: ');

/** Whether any project has a submission of this number that was neither cancelled nor failed. */
async function isSubmittedHere(
  env: Env,
  store: SubmitOptions['store'],
  { id, version }: NonNullable<Requested['app']>,
  number: number | null,
): Promise<boolean> {
  if (number === null || (version === undefined && store === 'app-store-connect')) return false;
  const its = { store, appId: id, train: trainOf(store, version ?? ''), buildNumber: String(number) };
  const found = await openDatabase(env).select({ id: submissions.id }).from(submissions).where(sameNumber(its)).get();
  return found !== undefined;
}

const NO_APP =
  'The request names no app, so only the store key was checked. Give `app` with `id`, `version` and `buildNumber`, ' +
  'and the store is asked about the app before the build.';

const OR_LATE = 'Without a name nothing is submitted after the build if several of them are for its app.';

const takenNumber = ({ platform, projectId }: Requested, appId: string, number: number | null): string =>
  `If the build gets number ${number}, it cannot be submitted. Set the counter to the highest number in the store: ` +
  `\`PUT /api/projects/${projectId}/numbers/${platform}/${appId}\`.`;

/**
 * The number that the build will have, as far as it is known. It is sure if the project's own number is above
 * the counter, or if there is no counter. Otherwise only the source tells whether the build counts. Pure.
 */
export function numberFor(
  counter: number | null,
  given: number | undefined,
): { value: number | null; isSure: boolean } {
  if (given !== undefined && given > (counter ?? 0)) return { value: given, isSure: true };
  return { value: counter === null ? (given ?? null) : counter + 1, isSure: counter === null };
}

async function ask(
  key: OpenedStoreKey,
  options: SubmitOptions,
  app: NonNullable<Requested['app']>,
  number: number | null,
  { addresses, signal, lookAtPlay }: Asking,
): Promise<StoreCheck> {
  if (options.store === 'app-store-connect') {
    const buildNumber = number === null ? null : String(number);
    const question = { appId: app.id, ascAppId: options.ascAppId ?? null, version: app.version ?? null, buildNumber };
    return checkAppStore(key, question, addresses, signal);
  }
  const { track, releaseStatus } = options;
  return judgePlay(await lookAtPlay(key, app.id), { versionCode: number, track, releaseStatus });
}

/** An app that has no counter, and the key that asks for its next number. */
interface Seeding {
  app: AppKey;
  pool: string;
  /** Null if the build asks for no submission. */
  options: SubmitOptions | null;
  by: Asker;
}

/**
 * Makes the counter of the app: the highest build number in the store, and at least 1. `asked` is
 * false if no store key of the project is for the app. Refused: `number_not_seeded` with the reason why the
 * store did not tell; `inputs_key_missing` and `inputs_gone` for a store key that does not open.
 */
export async function seedFromStore(
  env: Env,
  { app, pool, options, by }: Seeding,
  addresses: StoreAddresses,
  now: number,
  asking: Asking = askingFor(env, app.projectId, addresses),
): Promise<{ ok: true; asked: boolean } | Refusal> {
  const { projectId, platform, appId } = app;
  const store = STORE_OF_PLATFORM[platform];
  const found = await findStoreKeyFor(env, { projectId, pool, store, appId, name: options?.storeKey });
  if (!found.ok) return { ok: true, asked: false };
  const opened = await openStoreKey(env, found.row);
  if (!opened.ok) return opened;
  const { refusals, warnings, highest } = await askHighest(opened.key, appId, options, asking);
  if (highest === null) {
    const [refused] = refusals;
    return notSeeded(app, refused ? storeRefusal(refused).message : (warnings[0] ?? 'The store did not tell it.'));
  }
  if (highest > buildNumberMax(platform))
    return notSeeded(app, `The store has build number ${highest}, which is above the highest one that counts here.`);
  const value = Math.max(1, highest);
  if (await seedCounter(env, app, value, by.id, now)) await recordSeed(env, by, app, value, now);
  return { ok: true, asked: true };
}

async function askHighest(
  key: OpenedStoreKey,
  appId: string,
  options: SubmitOptions | null,
  { addresses, signal, lookAtPlay }: Asking,
): Promise<StoreCheck & { highest: number | null }> {
  if (key.store === 'google-play') {
    const { there, ...check } = await lookAtPlay(key, appId);
    return { ...check, highest: there?.highest ?? null };
  }
  const ascAppId = options?.store === 'app-store-connect' ? (options.ascAppId ?? null) : null;
  return highestBuildNumber(key, { appId, ascAppId }, addresses, signal);
}

const notSeeded = ({ projectId, platform, appId }: AppKey, why: string): Refusal =>
  refusal(
    'number_not_seeded',
    `the project has no build number of ${appId} for ${platform} yet, and its store was asked for the highest one. ` +
      `${why} Repeat the request when the store answers, or set the number yourself: ` +
      `\`PUT /api/projects/${projectId}/numbers/${platform}/${appId}\` with {"value": NUMBER} and a key that has the ` +
      'right `numbers`',
  );
