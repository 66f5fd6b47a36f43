/**
 * Speaks with the Google Play Developer API: an access token for each invocation, and a function for each
 * request. https://developers.google.com/android-publisher/edits says what an edit is.
 *
 * Invariants: the access token goes to the address of the API alone, never to that of an upload. It is never
 * stored.
 */
import { PrivateKeyUnreadable, signJwt } from './jwt.ts';
import { field, PlayRefused, playRefused } from './play-refusals.ts';
import type { OpenedStoreKey, StoreAddresses } from './step.ts';
import { askStore, type FixedBody, type StoreAnswer, type StoreRequest, uploadAddress } from './store-request.ts';

const SCOPE = 'https://www.googleapis.com/auth/androidpublisher';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const ASSERTION_S = 300;

/** Google reads the whole file before it answers its last bytes. It advises two minutes at least. */
const BYTES_LIMIT_MS = 170_000;

/** Room for some 20,000 files of an app. */
const LIST_MAX_BYTES = 4 * 1024 * 1024;

export type PlayKind = 'bundles' | 'apks';

/** A file that Google Play has. Google answers the hash of the bytes that it got. */
export interface PlayFile {
  versionCode: number;
  sha256: string | null;
}

export interface PlayRelease {
  versionCodes: string[];
  status: string;
  userFraction?: number;
}

/** How far an upload is: the number of bytes that have arrived, or the whole file. */
export type PlayUpload = { received: number } | { file: PlayFile };

/** The session of an upload has ended, or has never existed. */
export class UploadGone extends Error {}

/**
 * An access token for one invocation.
 *
 * @throws {PlayRefused} with the meaning `key_refused`, if Google does not know the key
 * @throws {StoreUnreachable}
 */
async function accessToken(key: OpenedStoreKey, addresses: StoreAddresses, signal: AbortSignal): Promise<string> {
  if (key.store !== 'google-play') throw new Error('the key is not for Google Play');
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: key.clientEmail, scope: SCOPE, aud: addresses.googleToken, iat: now, exp: now + ASSERTION_S };
  const assertion = await signJwt('RS256', key.privateKey, { kid: key.privateKeyId }, claims).catch((error) => {
    if (error instanceof PrivateKeyUnreadable)
      throw new PlayRefused(400, 'key_refused', `private_key ${error.message}`);
    throw error;
  });
  const answer = await askStore({
    method: 'POST',
    url: addresses.googleToken,
    signal,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: GRANT, assertion }).toString(),
  });
  const token = field(answer.json, 'access_token');
  if (answer.status === 200 && typeof token === 'string') return token;
  const refused = playRefused(answer);
  if (answer.status !== 400 && answer.status !== 401) throw refused;
  const why = [field(answer.json, 'error'), field(answer.json, 'error_description')].filter(
    (part) => typeof part === 'string',
  );
  throw new PlayRefused(answer.status, 'key_refused', why.join(': ') || refused.message);
}

/**
 * One app in Google Play, for one invocation. The first request that needs an access token gets one. Each
 * method throws {@link PlayRefused} and {@link StoreUnreachable}.
 */
export class PlayApp {
  readonly #key: OpenedStoreKey;
  readonly #addresses: StoreAddresses;
  readonly #name: string;
  readonly #signal: AbortSignal;
  #token: string | null = null;

  constructor(key: OpenedStoreKey, packageName: string, addresses: StoreAddresses, signal: AbortSignal) {
    this.#key = key;
    this.#addresses = addresses;
    this.#name = packageName;
    this.#signal = signal;
  }

  /** Ends every other edit of this key for this app. */
  async insertEdit(): Promise<string> {
    const id = field((await this.#ask('POST', '', {})).json, 'id');
    if (typeof id !== 'string' || !/^\w{1,100}$/.test(id))
      throw new PlayRefused(200, 'faulty', 'Google Play gave no edit.');
    return id;
  }

  async deleteEdit(edit: string): Promise<void> {
    await this.#ask('DELETE', `/${edit}`);
  }

  /** All files that the app has, with those that this edit adds. */
  async files(edit: string, kind: PlayKind): Promise<PlayFile[]> {
    const list = await this.#list(`/${edit}/${kind}`, kind);
    return list.map(fileOf).filter((file) => file !== null);
  }

  async tracks(edit: string): Promise<{ track: string; releases: PlayRelease[] }[]> {
    const tracks = await this.#list(`/${edit}/tracks`, 'tracks');
    return tracks.map((track) => ({ track: String(field(track, 'track')), releases: releasesOf(track) }));
  }

  /** A track that has had no release may be unknown to Google. */
  async releases(edit: string, track: string): Promise<PlayRelease[]> {
    try {
      return releasesOf((await this.#ask('GET', `/${edit}/tracks/${encodeURIComponent(track)}`)).json);
    } catch (error) {
      if (error instanceof PlayRefused && error.meaning === 'not_found') return [];
      throw error;
    }
  }

  /** A release for all users replaces all others. Google keeps it beside a release for fewer users. */
  async putRelease(edit: string, track: string, release: PlayRelease): Promise<void> {
    await this.#ask('PUT', `/${edit}/tracks/${encodeURIComponent(track)}`, { track, releases: [release] });
  }

  async commit(edit: string, notSentForReview: boolean): Promise<void> {
    await this.#ask('POST', `/${edit}:commit${notSentForReview ? '?changesNotSentForReview=true' : ''}`);
  }

  /**
   * Opens the session of an upload. Anybody who has its address can upload.
   *
   * @throws {ForeignAddress}
   */
  async openUpload(edit: string, kind: PlayKind, size: number): Promise<string> {
    const answer = await this.#request({
      method: 'POST',
      url: `${this.#addresses.googlePlay}/upload${this.#path(`/${edit}/${kind}`)}?uploadType=resumable`,
      headers: { 'X-Upload-Content-Type': 'application/octet-stream', 'X-Upload-Content-Length': String(size) },
    });
    const location = answer.headers.get('Location');
    if (location === null)
      throw new PlayRefused(answer.status, 'faulty', 'Google Play gave no address for the upload.');
    this.#uploadAddress(location);
    return location;
  }

  /** Asks how far the upload is. @throws {UploadGone} */
  async received(session: string, size: number): Promise<PlayUpload> {
    return this.#upload(session, `bytes */${size}`);
  }

  /** Sends the bytes from `offset` on. @throws {UploadGone} */
  async send(session: string, offset: number, size: number, body: FixedBody): Promise<PlayUpload> {
    return this.#upload(session, `bytes ${offset}-${offset + body.length - 1}/${size}`, body);
  }

  async #upload(session: string, range: string, body?: FixedBody): Promise<PlayUpload> {
    const url = this.#uploadAddress(session);
    const headers = { 'Content-Range': range, ...(body && { 'Content-Type': 'application/octet-stream' }) };
    const limitMs = BYTES_LIMIT_MS;
    const answer = await askStore({ method: 'PUT', url, signal: this.#signal, limitMs, headers, body: body ?? '' });
    if (answer.status === 308) return { received: receivedOf(answer.headers.get('Range')) };
    if (answer.status === 200 || answer.status === 201) {
      const file = fileOf(answer.json);
      if (file) return { file };
      throw new PlayRefused(answer.status, 'faulty', 'Google Play did not say which version code it has got.');
    }
    const refused = playRefused(answer);
    throw refused.meaning === 'not_found' ? new UploadGone() : refused;
  }

  /** Google leaves an empty list out. An answer that is no JSON does not mean an empty list. */
  async #list(below: string, name: string): Promise<unknown[]> {
    const url = `${this.#addresses.googlePlay}${this.#path(below)}`;
    const { json } = await this.#request({ method: 'GET', url, answerMaxBytes: LIST_MAX_BYTES });
    if (json === undefined) throw new PlayRefused(200, 'faulty', `The list of ${name} is no JSON, or is too long.`);
    const list = field(json, name) ?? [];
    return Array.isArray(list) ? list : [];
  }

  #uploadAddress(address: string): URL {
    return uploadAddress(address, this.#addresses.uploadHosts.google, this.#addresses.insecure);
  }

  #path(below: string): string {
    return `/androidpublisher/v3/applications/${encodeURIComponent(this.#name)}/edits${below}`;
  }

  #ask(method: StoreRequest['method'], below: string, json?: object): Promise<StoreAnswer> {
    const url = `${this.#addresses.googlePlay}${this.#path(below)}`;
    if (!json) return this.#request({ method, url });
    return this.#request({ method, url, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(json) });
  }

  async #request(request: Omit<StoreRequest, 'signal'>): Promise<StoreAnswer> {
    this.#token ??= await accessToken(this.#key, this.#addresses, this.#signal);
    const headers = { ...request.headers, Authorization: `Bearer ${this.#token}` };
    const answer = await askStore({ ...request, signal: this.#signal, headers });
    if (answer.status < 200 || answer.status >= 300) throw playRefused(answer);
    return answer;
  }
}

/** Asks for an access token and forgets it. Throws as {@link PlayApp}. */
export async function tryKey(key: OpenedStoreKey, addresses: StoreAddresses, signal: AbortSignal): Promise<void> {
  await accessToken(key, addresses, signal);
}

/** The file of an App Bundle, or of an APK, whose hash is a level deeper. */
function fileOf(json: unknown): PlayFile | null {
  const versionCode = field(json, 'versionCode');
  if (typeof versionCode !== 'number') return null;
  const sha256 = field(json, 'sha256') ?? field(field(json, 'binary'), 'sha256');
  return { versionCode, sha256: typeof sha256 === 'string' ? sha256.toLowerCase() : null };
}

function releasesOf(track: unknown): PlayRelease[] {
  const releases = field(track, 'releases');
  return (Array.isArray(releases) ? releases : []).map((release) => {
    const codes = field(release, 'versionCodes');
    const userFraction = field(release, 'userFraction');
    return {
      versionCodes: Array.isArray(codes) ? codes.map(String) : [],
      status: String(field(release, 'status')),
      ...(typeof userFraction === 'number' && { userFraction }),
    };
  });
}

/** No `Range`: nothing has arrived. */
const receivedOf = (range: string | null): number => {
  const last = /^bytes=0-(\d{1,15})$/.exec(range ?? '')?.[1];
  return last === undefined ? 0 : Number(last) + 1;
};
