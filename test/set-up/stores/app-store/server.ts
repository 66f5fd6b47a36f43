/**
 * Serves the part of the App Store Connect API that Tartbeat uses, written from what is known of it. It
 * checks tokens, addresses, lengths and hashes, and answers in each way that is known of Apple. The bytes go
 * to a second server, because Apple's storage is at other hosts than its API.
 *
 * `POST /_control` calls a method of {@link AppleControl}, for tests that run inside workerd.
 */
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Faults } from '../faults.ts';
import { listening } from '../odd-server.ts';
import { type Account, Accounts } from './accounts.ts';
import { AppleApp, type Upload, type UploadFile } from './apps.ts';
import type { AppleAct, AppleControl, AppleOperation, AppleRequest } from './control.ts';
import { type AppleRefusalName, Refused } from './refusals.ts';

const REQUESTS_MAX = 20_000;

/** The acts that {@link AppleControl.unrest} draws from. */
const ACTS: readonly AppleAct[] = [
  { kind: 'lose' },
  { kind: 'lose' },
  { kind: 'cut' },
  { kind: 'status', status: 429, retryAfter: '0' },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 503 },
  { kind: 'refuse', refusal: 'unauthenticated' },
  { kind: 'garble' },
  { kind: 'slow', delayMs: 20 },
  { kind: 'expire' },
  { kind: 'hide' },
];

export interface AppStore extends AppleControl {
  /** The base address of the API. */
  url: string;
  /** The server that gets the bytes. */
  uploadUrl: string;
  stop(): Promise<void>;
}

/** Cuts the connection in place of an answer. */
class Cut extends Error {}

/** The body of a request that changes something. Each request has some of these fields. */
interface Body {
  data: {
    attributes: {
      platform: string;
      cfBundleShortVersionString: string;
      cfBundleVersion: string;
      assetType: string;
      fileName: string;
      fileSize: number;
      uti: string;
      uploaded: boolean;
      sourceFileChecksums?: { file: { hash: string; algorithm: string } };
      locale: string;
      whatsNew: string;
    };
    relationships: Record<'app' | 'build' | 'buildUpload', { data: { id: string } }>;
  };
}

interface Asked {
  account: Account;
  query: URLSearchParams;
  body: Body;
  id: string;
  act: AppleAct | null;
}

type Handler = (asked: Asked) => unknown;

class AppleServer implements AppleControl {
  readonly #folder: string;
  readonly #violations: string[] = [];
  readonly #accounts = new Accounts(this.#violations);
  readonly #faults = new Faults<AppleOperation, AppleAct>(ACTS);
  readonly #apps = new Map<string, AppleApp>();
  readonly #uploads = new Map<string, Upload>();
  readonly #files = new Map<string, UploadFile>();
  readonly #requests: AppleRequest[] = [];
  uploadUrl = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  account: AppleControl['account'] = async (options = {}) => this.#accounts.add(options);
  app: AppleControl['app'] = async (keyId, options) => {
    const id = String(randomInt(1_000_000_000, 9_999_999_999));
    this.#apps.set(id, new AppleApp(id, keyId, options, this.#violations));
    return id;
  };
  change: AppleControl['change'] = async (id, options) => {
    Object.assign(this.#known(id).options, options);
  };
  addBuild: AppleControl['addBuild'] = async (id, build) => {
    this.#known(id).addBuild(build, build.upload ?? null);
  };
  addUpload: AppleControl['addUpload'] = async (id, version, buildNumber) =>
    this.#kept(this.#known(id).addUpload(version, buildNumber)).id;
  deleteUploads: AppleControl['deleteUploads'] = async (id) => {
    for (const upload of this.#known(id).uploads.values()) await this.#remove(upload);
  };
  revoke: AppleControl['revoke'] = async (keyId) => this.#accounts.revoke(keyId);
  fault: AppleControl['fault'] = async (scope, fault) => this.#faults.add(scope, fault);
  unrest: AppleControl['unrest'] = async (scope, seed, share) => this.#faults.unrest(scope, seed, share);
  state: AppleControl['state'] = async (id) => this.#known(id).state();
  requests: AppleControl['requests'] = async () => this.#requests;
  violations: AppleControl['violations'] = async () => this.#violations;

  #known(id: string): AppleApp {
    const app = this.#apps.get(id);
    if (!app) throw new Error(`The stand-in has no app ${id}.`);
    return app;
  }

  #kept(upload: Upload): Upload {
    this.#uploads.set(upload.id, upload);
    return upload;
  }

  async forget(): Promise<void> {
    for (const file of this.#files.values()) await file.forget();
  }

  readonly handle = (request: IncomingMessage, response: ServerResponse) =>
    this.#guarded(response, () => this.#answer(request, response));

  readonly handleBytes = (request: IncomingMessage, response: ServerResponse) =>
    this.#guarded(response, () => this.#chunk(request, response));

  async #guarded(response: ServerResponse, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (error instanceof Refused) return respond(response, error.status, error.body);
      // The client may die in the middle of a request.
      const isCut = error instanceof Cut || (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      if (!isCut) this.#violations.push(String(error));
      response.destroy();
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api');
    const text = (await bytesOf(request)).toString();
    if (url.pathname === '/_control') return this.#control(text, response);
    const [operation, id, handler] = this.#routed(request.method ?? '', url.pathname);
    this.#record(operation, request, text);
    const account = this.#accounts.callerOf(request.headers.authorization, request.method ?? '', url);
    const act = this.#faults.next(account.team, operation);
    await before(act, request, response);
    if (response.writableEnded) return;
    const asked = { account, query: url.searchParams, body: text === '' ? null : JSON.parse(text), id, act };
    const answer = await handler(asked);
    if (act?.kind === 'lose') throw new Cut();
    if (act?.kind === 'slow') await delay(act.delayMs);
    if (act?.kind === 'garble') return void response.writeHead(200).end('<html>');
    respond(
      response,
      operation === 'delete' || operation === 'add' ? 204 : request.method === 'POST' ? 201 : 200,
      answer,
    );
  }

  async #control(text: string, response: ServerResponse): Promise<void> {
    try {
      const { call, with: given } = JSON.parse(text) as { call: keyof AppleControl; with: never[] };
      const act = this[call] as (...args: never[]) => Promise<unknown>;
      respond(response, 200, { answer: await act(...given) });
    } catch (error) {
      respond(response, 500, { violation: String(error) });
    }
  }

  #record(operation: string, { method = '', url = '', headers }: IncomingMessage, body: string): void {
    if (this.#requests.length >= REQUESTS_MAX) this.#requests.shift();
    const shown = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    this.#requests.push({ operation, method, url, headers: shown, body });
  }

  #routed(method: string, path: string): [AppleOperation, string, Handler] {
    for (const [pattern, operation, handler] of this.#routes) {
      const found = pattern.exec(`${method} ${path}`);
      if (found) return [operation, found[1] ?? '', handler];
    }
    throw new Error(`no such request: ${method} ${path}`);
  }

  readonly #routes: readonly (readonly [RegExp, AppleOperation, Handler])[] = [
    [/^GET \/v1\/apps$/, 'apps', (asked) => this.#listApps(asked)],
    [/^GET \/v1\/apps\/(\d+)$/, 'app', ({ account, id }) => ({ data: appJson(this.#appOf(account, id, 'app')) })],
    [/^GET \/v1\/apps\/(\d+)\/appStoreVersions$/, 'versions', (asked) => this.#listVersions(asked)],
    [/^GET \/v1\/apps\/(\d+)\/buildUploads$/, 'uploads', (asked) => this.#listUploads(asked)],
    [/^GET \/v1\/builds$/, 'builds', (asked) => this.#listBuilds(asked)],
    [/^GET \/v1\/builds\/([\w-]+)$/, 'build', ({ account, id }) => this.#build(account, id, 'build')],
    [/^POST \/v1\/buildUploads$/, 'create', (asked) => this.#create(asked)],
    [/^GET \/v1\/buildUploads\/([\w-]+)$/, 'upload', (asked) => this.#upload(asked)],
    [/^DELETE \/v1\/buildUploads\/([\w-]+)$/, 'delete', (asked) => this.#delete(asked)],
    [/^GET \/v1\/buildUploads\/([\w-]+)\/buildUploadFiles$/, 'files', (asked) => this.#listFiles(asked)],
    [/^POST \/v1\/buildUploadFiles$/, 'reserve', (asked) => this.#reserve(asked)],
    [/^GET \/v1\/buildUploadFiles\/([\w-]+)$/, 'file', (asked) => this.#file(asked)],
    [/^PATCH \/v1\/buildUploadFiles\/([\w-]+)$/, 'commit', (asked) => this.#commit(asked)],
    [/^GET \/v1\/builds\/([\w-]+)\/betaBuildLocalizations$/, 'localizations', (asked) => this.#localizations(asked)],
    [/^POST \/v1\/betaBuildLocalizations$/, 'localize', (asked) => this.#localize(asked)],
    [/^PATCH \/v1\/betaBuildLocalizations\/([\w-]+)$/, 'localize', (asked) => this.#localizeAgain(asked)],
    [/^GET \/v1\/betaGroups$/, 'groups', (asked) => this.#listGroups(asked)],
    [/^POST \/v1\/builds\/([\w-]+)\/relationships\/betaGroups$/, 'add', (asked) => this.#addToGroup(asked)],
  ];

  #appOf(account: Account, id: string | null, operation: AppleOperation): AppleApp {
    const app = this.#apps.get(id ?? '');
    if (!app || app.keyId !== account.team) throw new Refused('not_found');
    app.asked[operation] = (app.asked[operation] ?? 0) + 1;
    return app;
  }

  #listApps({ account, query }: Asked) {
    const prefix = query.get('filter[bundleId]') ?? '';
    const apps = [...this.#apps.values()].filter(
      ({ keyId, options }) => keyId === account.team && options.bundleId.startsWith(prefix),
    );
    return { data: apps.slice(0, Number(query.get('limit') ?? 50)).map(appJson) };
  }

  #listVersions({ account, id }: Asked) {
    const versions = this.#appOf(account, id, 'versions').options.versions ?? [];
    return {
      data: versions.map(({ version, state }) => ({
        type: 'appStoreVersions',
        id: version,
        attributes: { versionString: version, appVersionState: state },
      })),
    };
  }

  #listBuilds({ account, query }: Asked) {
    const app = this.#appOf(account, query.get('filter[app]'), 'builds');
    const [version, train] = [query.get('filter[version]'), query.get('filter[preReleaseVersion.version]')];
    const builds = [...app.builds.values()].filter(
      (build) => (version ?? build.buildNumber) === build.buildNumber && (train ?? build.version) === build.version,
    );
    const sorted = query.get('sort') === '-uploadedDate' ? builds.toReversed() : builds;
    return paged(
      sorted.map((build) => buildJson(app, build)),
      query,
    );
  }

  #build(account: Account, id: string, operation: AppleOperation) {
    const [app, build] = this.#builtBy(account, id, operation);
    return { data: buildJson(app, build) };
  }

  #builtBy(account: Account, id: string, operation: AppleOperation) {
    const app = [...this.#apps.values()].find(({ keyId, builds }) => keyId === account.team && builds.has(id));
    const build = app?.builds.get(id);
    if (!app || !build) throw new Refused('not_found');
    this.#appOf(account, app.id, operation);
    return [app, build] as const;
  }

  #listUploads({ account, id, query }: Asked) {
    const app = this.#appOf(account, id, 'uploads');
    const [version, number] = [query.get('filter[cfBundleShortVersionString]'), query.get('filter[cfBundleVersion]')];
    const states = query.get('filter[state]')?.split(',');
    const uploads = [...app.uploads.values()].filter(
      (upload) =>
        (version ?? upload.version) === upload.version &&
        (number ?? upload.buildNumber) === upload.buildNumber &&
        (states?.includes(upload.state) ?? true),
    );
    return paged(uploads.map(uploadJson), query);
  }

  #create({ account, body }: Asked) {
    const { attributes, relationships } = body.data;
    if (attributes.platform !== 'IOS') throw new Error('an upload for another platform');
    const app = this.#appOf(account, relationships.app.data.id, 'create');
    return {
      data: uploadJson(this.#kept(app.addUpload(attributes.cfBundleShortVersionString, attributes.cfBundleVersion))),
    };
  }

  #uploadOf(account: Account, id: string, operation: AppleOperation): Upload {
    const upload = this.#uploads.get(id);
    if (!upload) throw new Refused('not_found');
    this.#appOf(account, upload.app.id, operation);
    return upload;
  }

  #upload({ account, id }: Asked) {
    const upload = this.#uploadOf(account, id, 'upload');
    upload.app.poll(upload);
    return { data: uploadJson(upload), included: upload.file ? [fileJson(upload.file, null)] : [] };
  }

  async #delete({ account, id }: Asked) {
    const upload = this.#uploadOf(account, id, 'delete');
    if (upload.state === 'COMPLETE') throw new Refused('state');
    if (upload.state === 'PROCESSING') this.#violations.push('an upload was deleted that was committed');
    await this.#remove(upload);
  }

  async #remove(upload: Upload): Promise<void> {
    this.#uploads.delete(upload.id);
    upload.app.uploads.delete(upload.id);
    if (!upload.file) return;
    this.#files.delete(upload.file.id);
    await upload.file.forget();
  }

  #listFiles({ account, id, act }: Asked) {
    const { file } = this.#uploadOf(account, id, 'files');
    return { data: file ? [fileJson(file, this.#origin(act))] : [] };
  }

  #reserve({ account, body, act }: Asked) {
    const { attributes, relationships } = body.data;
    const { assetType, fileName, fileSize, uti } = attributes;
    if (assetType !== 'ASSET' || uti !== 'com.apple.ipa' || !String(fileName).endsWith('.ipa'))
      throw new Error('a file that is no .ipa');
    const upload = this.#uploadOf(account, relationships.buildUpload.data.id, 'reserve');
    const file = upload.app.reserve(upload, fileSize, this.#folder);
    this.#files.set(file.id, file);
    return { data: fileJson(file, this.#origin(act)) };
  }

  /** The origin of the addresses. Null: the addresses are left out. */
  #origin(act: AppleAct | null): string | null {
    if (act?.kind === 'hide') return null;
    return act?.kind === 'address' ? act.origin : this.uploadUrl;
  }

  #fileOf(account: Account, id: string, operation: AppleOperation): UploadFile {
    const file = this.#files.get(id);
    if (!file) throw new Refused('not_found');
    this.#appOf(account, file.upload.app.id, operation);
    return file;
  }

  #file({ account, id }: Asked) {
    return { data: fileJson(this.#fileOf(account, id, 'file'), null) };
  }

  async #commit({ account, id, body, act }: Asked) {
    const file = this.#fileOf(account, id, 'commit');
    const { uploaded, sourceFileChecksums } = body.data.attributes;
    if (uploaded !== true) throw new Error('a commit that commits nothing');
    if (act?.kind === 'hide' && sourceFileChecksums) throw new Refused('checksums');
    if (sourceFileChecksums && sourceFileChecksums.file.algorithm !== 'SHA_256') throw new Refused('checksums');
    await file.upload.app.commit(file, sourceFileChecksums?.file.hash ?? null);
    return { data: fileJson(file, null) };
  }

  #localizations({ account, id }: Asked) {
    const [, build] = this.#builtBy(account, id, 'localizations');
    const data = [...build.localizations].map(([localization, attributes]) => ({
      type: 'betaBuildLocalizations',
      id: localization,
      attributes,
    }));
    return { data };
  }

  #localize({ account, body }: Asked) {
    const { attributes, relationships } = body.data;
    const [, build] = this.#builtBy(account, relationships.build.data.id, 'localize');
    if (account.role === 'DEVELOPER') throw new Refused('role');
    if ([...build.localizations.values()].some(({ locale }) => locale === attributes.locale))
      throw new Refused('duplicate');
    build.localizations.set(crypto.randomUUID(), attributes);
    return { data: {} };
  }

  #localizeAgain({ account, id, body }: Asked) {
    if (account.role === 'DEVELOPER') throw new Refused('role');
    const localizations = [...this.#apps.values()]
      .filter(({ keyId }) => keyId === account.team)
      .flatMap(({ builds }) => [...builds.values()])
      .find((build) => build.localizations.has(id))?.localizations;
    const before = localizations?.get(id);
    if (!before) throw new Refused('not_found');
    before.whatsNew = body.data.attributes.whatsNew;
    return { data: {} };
  }

  #listGroups({ account, query }: Asked) {
    const app = this.#appOf(account, query.get('filter[app]'), 'groups');
    const data = [...app.groups].map(([id, { name, allBuilds }]) => ({
      type: 'betaGroups',
      id,
      attributes: { name, hasAccessToAllBuilds: allBuilds },
    }));
    return { data };
  }

  #addToGroup({ account, id, body }: Asked) {
    const [app, build] = this.#builtBy(account, id, 'add');
    if (account.role === 'DEVELOPER') throw new Refused('role');
    for (const { id: group } of body.data as unknown as { id: string }[]) {
      if (app.groups.get(group)?.allBuilds !== false) throw new Refused('internal_group');
      build.groups.add(group);
    }
  }

  async #chunk(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://bytes');
    this.#record('chunk', request, '');
    const { authorization, cookie, 'content-length': length } = request.headers;
    if (authorization || cookie) this.#violations.push('a token came to an upload address');
    const [, id, number] = /^\/parts\/([\w-]+)\/(\d+)$/.exec(url.pathname) ?? [];
    const file = this.#files.get(id ?? '');
    const part = file?.part(Number(number));
    if (!file || !part || request.method !== 'PUT') return denied(response, 404, 'NoSuchUpload');
    if (Number(length) !== part.length || request.headers['x-part'] !== number)
      this.#violations.push(`chunk ${number} has ${length} bytes of ${part.length}, or other headers`);
    const { app } = file.upload;
    app.asked.chunk = (app.asked.chunk ?? 0) + 1;
    if (file.state !== 'AWAITING_UPLOAD') this.#violations.push('bytes came after the commit');
    const act = this.#faults.next(app.keyId, 'chunk');
    if (act?.kind === 'expire') file.expire();
    if (act?.kind === 'refuse' || !file.isSigned(url.searchParams.get('X-Amz-Signature'))) {
      await bytesOf(request);
      return denied(response, 403, 'AccessDenied');
    }
    await before(act?.kind === 'cut' ? null : act, request, response);
    if (response.writableEnded) return;
    let at = 0;
    for await (const bytes of request as AsyncIterable<Buffer>) {
      if (act?.kind === 'damage') bytes[0] = (bytes[0] ?? 0) ^ 1;
      await file.write(bytes, part.offset + at);
      at += bytes.length;
      if (act?.kind === 'cut') throw new Cut();
    }
    if (at !== part.length) throw new Cut();
    part.arrived = true;
    if (act?.kind === 'lose') throw new Cut();
    if (act?.kind === 'slow') await delay(act.delayMs);
    response.writeHead(200, { ETag: `"${number}"` }).end();
  }
}

/** Carries out the part of an act that comes before the request is acted upon. */
async function before(act: AppleAct | null, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (act?.kind === 'cut') throw new Cut();
  if (act?.kind === 'refuse') throw new Refused(act.refusal as AppleRefusalName);
  if (act?.kind === 'status') {
    await bytesOf(request);
    if (act.retryAfter !== undefined) response.setHeader('Retry-After', act.retryAfter);
    response.writeHead(act.status).end();
  }
  if (act?.kind === 'redirect') response.writeHead(307, { Location: act.location }).end();
}

/** Refuses as Apple's storage does: in XML, with the values that it has read in it. */
function denied(response: ServerResponse, status: number, code: string): void {
  const signed = 'c0ffee'.repeat(12);
  response.writeHead(status, { 'Content-Type': 'application/xml' });
  response.end(
    `<Error><Code>${code}</Code><Message>Request has expired</Message><Signature>${signed}</Signature></Error>`,
  );
}

function respond(response: ServerResponse, status: number, json: unknown): void {
  if (response.headersSent) return void response.destroy();
  if (status === 204) return void response.writeHead(204).end();
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function paged(all: object[], query: URLSearchParams) {
  const limit = Number(query.get('limit') ?? 50);
  const start = Number(query.get('cursor') ?? 0);
  const next = start + limit < all.length ? `https://elsewhere.example/v1?cursor=${start + limit}` : undefined;
  return { data: all.slice(start, start + limit), links: { self: '/', ...(next && { next }) } };
}

const appJson = ({ id, options }: AppleApp) => ({ type: 'apps', id, attributes: { bundleId: options.bundleId } });

type Build = AppleApp['builds'] extends Map<string, infer B> ? B : never;

const buildJson = (app: AppleApp, { id, buildNumber, processingState, upload }: Build) => ({
  type: 'builds',
  id,
  attributes: {
    version: buildNumber,
    processingState,
    usesNonExemptEncryption: app.options.usesNonExemptEncryption ?? null,
  },
  relationships: { buildUpload: { data: upload === null ? null : { type: 'buildUploads', id: upload } } },
});

const uploadJson = ({ id, version, buildNumber, state, errors, app }: Upload) => {
  const build = [...app.builds.values()].find(({ upload }) => upload === id);
  return {
    type: 'buildUploads',
    id,
    attributes: {
      cfBundleShortVersionString: version,
      cfBundleVersion: buildNumber,
      platform: 'IOS',
      state: { state, errors, warnings: [], infos: [] },
    },
    relationships: { build: { data: build ? { type: 'builds', id: build.id } : null } },
  };
};

const fileJson = (file: UploadFile, origin: string | null) => ({
  type: 'buildUploadFiles',
  id: file.id,
  attributes: {
    fileSize: file.size,
    assetDeliveryState: {
      state: file.state,
      errors: file.state === 'FAILED' ? [{ code: 'CHECKSUM_MISMATCH', description: 'The checksums differ.' }] : [],
    },
    uploadOperations: file.state === 'AWAITING_UPLOAD' && origin !== null ? file.operations(origin) : null,
  },
});

export async function startAppStore(): Promise<AppStore> {
  const folder = await mkdtemp(join(tmpdir(), 'app-store-'));
  const server = new AppleServer(folder);
  const api = await listening(createServer(server.handle));
  const bytes = await listening(createServer(server.handleBytes));
  server.uploadUrl = bytes.url;
  return Object.assign(server, {
    url: api.url,
    stop: async () => {
      await Promise.all([api.stop(), bytes.stop()]);
      await server.forget();
      await rm(folder, { recursive: true, force: true });
    },
  });
}
