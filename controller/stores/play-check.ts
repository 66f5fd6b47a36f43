/**
 * Asks Google Play before a build whether it would take the app, and reads the key file of a service account.
 *
 * Invariants: every address in a key file is ignored. A refusal of a key file holds nothing of its text. A
 * look into an app leaves no edit behind.
 */
import { type Refusal, refusal } from '../refusals.ts';
import { importPrivateKey, PrivateKeyUnreadable } from './jwt.ts';
import { field, PlayRefused } from './play-refusals.ts';
import { PlayApp, tryKey } from './play-requests.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import type { StoreCheck } from './store-check.ts';
import { StoreUnreachable } from './store-request.ts';

const EMAIL = /^[\w.+-]{1,100}@[\w.-]{1,200}$/;
const KEY_ID = /^[\w-]{1,100}$/;

const HOW = 'Send the JSON file of a key of a service account, as the Google Cloud console makes it';

/**
 * Refused: `invalid_request`, also for other types of credentials, because they name programs and addresses
 * that the controller would have to trust.
 */
export async function parseServiceAccount(
  text: string,
): Promise<{ ok: true; key: OpenedStoreKey; identity: string } | Refusal> {
  const no = (what: string) => refusal('invalid_request', `serviceAccount${what}. ${HOW}`);
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return no(' is no JSON');
  }
  if (field(file, 'type') !== 'service_account') return no('.type must be service_account');
  const clientEmail = field(file, 'client_email');
  const privateKeyId = field(file, 'private_key_id');
  const privateKey = field(file, 'private_key');
  if (typeof clientEmail !== 'string' || !EMAIL.test(clientEmail))
    return no('.client_email must be the e-mail address of the account');
  if (typeof privateKeyId !== 'string' || !KEY_ID.test(privateKeyId))
    return no('.private_key_id must be the id of the key');
  if (typeof privateKey !== 'string') return no('.private_key must be the text of a private key');
  try {
    await importPrivateKey('RS256', privateKey);
  } catch (error) {
    if (!(error instanceof PrivateKeyUnreadable)) throw error;
    return no(`.private_key ${error.message}`);
  }
  return { ok: true, key: { store: 'google-play', clientEmail, privateKeyId, privateKey }, identity: clientEmail };
}

/** Whether Google knows the key. Google tells its rights only for an app. */
export async function checkPlayKey(
  key: OpenedStoreKey,
  addresses: StoreAddresses,
  signal: AbortSignal,
): Promise<StoreCheck> {
  return settled(async () => {
    await tryKey(key, addresses, signal);
    return { refusals: [], warnings: [], there: null };
  });
}

interface PlayQuestion {
  /** Null if it is not known yet. */
  versionCode: number | null;
  track: string;
  releaseStatus: string;
}

/** `there` is null if there are refusals, or a warning that says why. */
export type PlayLook = StoreCheck & { there: PlayThere | null };

/**
 * Looks whether Google knows the package, whether the key may change it, and which files and releases it has.
 * The look needs an edit, and a new edit ends the others of the key for this app. A submission that is under
 * way would begin anew.
 */
export async function lookAtPlay(
  key: OpenedStoreKey,
  packageName: string,
  addresses: StoreAddresses,
  signal: AbortSignal,
): Promise<PlayLook> {
  return settled(async () => {
    const there = await inEdit(key, packageName, addresses, signal, lookAround);
    return { refusals: [], warnings: [], there };
  });
}

/** Judges the result of a look for a build that is to be submitted. Pure. */
export const judgePlay = ({ there, ...check }: PlayLook, question: PlayQuestion): StoreCheck =>
  there === null ? check : judged(question, there);

interface PlayThere {
  codes: ReadonlySet<number>;
  /** The highest version code of all files and releases, 0 if there is none. */
  highest: number;
  tracks: ReadonlySet<string>;
  /** An app that was never published has no other releases than drafts. */
  onlyDrafts: boolean;
}

async function lookAround(app: PlayApp, edit: string): Promise<PlayThere> {
  const files = [...(await app.files(edit, 'bundles')), ...(await app.files(edit, 'apks'))];
  const tracks = await app.tracks(edit);
  const releases = tracks.flatMap((track) => track.releases);
  const codes = new Set([
    ...files.map(({ versionCode }) => versionCode),
    ...releases.flatMap(({ versionCodes }) => versionCodes.map(Number).filter(Number.isSafeInteger)),
  ]);
  return {
    codes,
    highest: Math.max(0, ...codes),
    tracks: new Set(tracks.map(({ track }) => track)),
    onlyDrafts: releases.every(({ status }) => status === 'draft'),
  };
}

function judged({ versionCode, track, releaseStatus }: PlayQuestion, there: PlayThere): StoreCheck {
  const refusals: StoreCheck['refusals'] = [];
  const warnings: string[] = [];
  if (versionCode !== null && there.codes.has(versionCode))
    refusals.push({
      reason: 'build_number_used',
      storeWords: `Google Play has version code ${versionCode}. The highest one there is ${there.highest}.`,
    });
  else if (versionCode !== null && versionCode < there.highest)
    warnings.push(
      `Google Play has version code ${there.highest}. Whoever has it does not get version code ${versionCode}.`,
    );
  if (there.onlyDrafts && releaseStatus !== 'draft')
    warnings.push(
      'The app has no release in Google Play but drafts. If it was never published, the new release is a draft, ' +
        'too: roll it out in the Play Console.',
    );
  if (!there.tracks.has(track)) warnings.push(`Google Play names no track ${track}. Make it in the Play Console.`);
  return { refusals, warnings };
}

async function inEdit<Result>(
  key: OpenedStoreKey,
  packageName: string,
  addresses: StoreAddresses,
  signal: AbortSignal,
  run: (app: PlayApp, edit: string) => Promise<Result>,
): Promise<Result> {
  const app = new PlayApp(key, packageName, addresses, signal);
  const edit = await app.insertEdit();
  try {
    return await run(app, edit);
  } finally {
    // An edit that stays expires by itself.
    await app.deleteEdit(edit).catch(() => {});
  }
}

async function settled(run: () => Promise<PlayLook>): Promise<PlayLook> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof StoreUnreachable)
      return { refusals: [], warnings: [`Not everything was checked. ${error.message}`], there: null };
    if (!(error instanceof PlayRefused)) throw error;
    return { ...refusedCheck(error), there: null };
  }
}

function refusedCheck({ meaning, message }: PlayRefused): StoreCheck {
  switch (meaning) {
    case 'busy':
    case 'faulty':
    case 'edit_gone':
      return { refusals: [], warnings: [`Google Play could not answer: ${message}`] };
    case 'token_refused':
      return { refusals: [{ reason: 'key_refused', storeWords: message }], warnings: [] };
    case 'not_found':
      return { refusals: [{ reason: 'app_not_found', storeWords: message }], warnings: [] };
    case 'refused':
    case 'version_code_used':
    case 'review_by_hand':
    case 'review_automatic':
      return { refusals: [{ reason: 'role_missing', storeWords: message }], warnings: [] };
    default:
      return { refusals: [{ reason: meaning, storeWords: message }], warnings: [] };
  }
}
