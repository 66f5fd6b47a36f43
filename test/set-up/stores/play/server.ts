/**
 * Serves the part of the Google Play Developer API that Tartbeat uses, written from what is known of it. It
 * checks assertions, tokens, ranges and hashes, and answers in each way that is known of Google.
 *
 * `POST /_control` calls a method of {@link PlayControl}, for tests that run inside workerd.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { PlayAccounts } from './accounts.ts';
import { type Edit, PlayApp } from './apps.ts';
import type {
  PlayAct,
  PlayAppOptions,
  PlayControl,
  PlayFile,
  PlayOperation,
  PlayRelease,
  PlayRequest,
} from './control.ts';
import { PlayFaults } from './faults.ts';
import { type PlayRefusalName, Refused, refused } from './refusals.ts';
import { Upload } from './uploads.ts';

const REQUESTS_MAX = 20_000;
const BODY_SHOWN_BYTES = 16 * 1024;

export interface Play extends PlayControl {
  /** The base address of the API. */
  url: string;
  tokenUrl: string;
  /** Another server, which no token and no byte of an app may reach. */
  strangerUrl: string;
  stop(): Promise<void>;
}

interface Target {
  operation: PlayOperation;
  app: string;
  edit: string;
  kind: PlayFile['kind'];
  track: string;
  upload: string;
}

/** Cuts the connection in place of an answer. */
class Cut extends Error {}

const API =
  /^\/(upload\/)?androidpublisher\/v3\/applications\/([^/:]+)\/edits(?:\/([^/:]+)(?::(\w+))?(?:\/(\w+)(?:\/([^/]+))?)?)?$/;

const OPERATIONS: Record<string, PlayOperation> = {
  'POST insert': 'insert',
  'GET edit': 'get-edit',
  'DELETE edit': 'delete',
  'POST validate': 'validate',
  'POST commit': 'commit',
  'GET bundles': 'list-bundles',
  'GET apks': 'list-apks',
  'GET tracks': 'list-tracks',
  'GET track': 'get-track',
  'PUT track': 'put-track',
};

class PlayServer implements PlayControl {
  readonly #violations: string[] = [];
  readonly #accounts = new PlayAccounts(this.#violations);
  readonly #faults = new PlayFaults();
  readonly #apps = new Map<string, PlayApp>();
  readonly #uploads = new Map<string, Upload>();
  readonly #requests: PlayRequest[] = [];
  url = '';

  get tokenUrl(): string {
    return `${this.url}/token`;
  }

  account: PlayControl['account'] = async (email, options) => this.#accounts.add(email, options);
  app = async (name: string, options: PlayAppOptions = {}): Promise<void> => {
    this.#apps.set(name, new PlayApp(name, options, this.#violations));
  };
  file: PlayControl['file'] = async (name, sha256, versionCode) => this.#known(name).announce(sha256, versionCode);
  fault: PlayControl['fault'] = async (scope, fault) => this.#faults.add(scope, fault);
  unrest: PlayControl['unrest'] = async (scope, seed, share) => this.#faults.unrest(scope, seed, share);
  endEdits: PlayControl['endEdits'] = async (name, as) => this.#known(name).endEdits(as);
  revoke: PlayControl['revoke'] = async (keyId) => this.#accounts.revoke(keyId);
  endTokens: PlayControl['endTokens'] = async (email) => this.#accounts.endTokens(email);
  state: PlayControl['state'] = async (name) => this.#known(name).state();
  requests: PlayControl['requests'] = async () => this.#requests;
  violations: PlayControl['violations'] = async () => this.#violations;

  #known(name: string): PlayApp {
    const app = this.#apps.get(name);
    if (!app) throw new Error(`The stand-in has no app ${name}.`);
    return app;
  }

  readonly handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      await this.#answer(request, response);
    } catch (error) {
      if (error instanceof Cut || response.headersSent) response.destroy();
      else if (error instanceof Refused) respond(response, error.code, error.body);
      else respond(response, 500, { violation: String(error) });
      if (!(error instanceof Cut || error instanceof Refused)) this.#violations.push(String(error));
    }
  };

  /** Answers as the other server. Every request that comes there is a violation. */
  readonly handleAsStranger = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await shownBody(request).catch(() => '');
    this.#record('stranger', request, body);
    this.#violations.push(`${request.method} ${request.url} came to a stranger`);
    respond(response, 200, { access_token: 'ya29.of-a-stranger', id: '1', expires_in: 3599 });
  };

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/_control') {
      const { call, with: given } = JSON.parse(await wholeBody(request));
      const method = (this as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>)[call];
      if (!method) throw new Error(`The stand-in has no method ${call}.`);
      respond(response, 200, { answer: (await method(...given)) ?? null });
      return;
    }
    const target = targetOf(request);
    const body = target?.operation === 'chunk' ? '' : await shownBody(request);
    this.#record(target?.operation ?? 'unknown', request, body);
    if (!target) throw new Refused(404, { error: { code: 404, message: 'Not Found' } });
    if (`http://${request.headers.host}` !== this.url) this.#violations.push(`the host is ${request.headers.host}`);
    const app = this.#apps.get(target.app);
    if (app) app.asked[target.operation] = (app.asked[target.operation] ?? 0) + 1;

    const act = this.#faults.next(
      target.operation === 'token' ? PlayAccounts.named(body) : target.app,
      target.operation,
    );
    await this.#before(act, target, request, response);
    if (response.headersSent) return;
    const answer = await this.#act(target, request, body, act);
    if (act?.kind === 'lose') throw new Cut();
    if (act?.kind === 'slow') await delay(act.delayMs);
    respond(response, answer.status, answer.body, answer.headers);
  }

  async #before(
    act: PlayAct | null,
    target: Target,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (act?.kind === 'cut' && target.operation !== 'chunk') throw new Cut();
    if (act?.kind === 'status') {
      const headers: Record<string, string> = act.retryAfter === undefined ? {} : { 'Retry-After': act.retryAfter };
      await drained(request);
      respond(response, act.status, { error: { code: act.status, message: 'That is an error.' } }, headers);
    }
    if (act?.kind === 'say') {
      await drained(request);
      respond(response, act.status, { error: { code: act.status, message: act.says } });
    }
    if (act?.kind === 'redirect') {
      await drained(request);
      response.writeHead(307, { Location: act.location }).end();
    }
    if (act?.kind === 'refuse') {
      await drained(request);
      throw refused(act.refusal as PlayRefusalName, target.app);
    }
  }

  async #act(
    target: Target,
    request: IncomingMessage,
    body: string,
    act: PlayAct | null,
  ): Promise<{ status: number; body: object | null; headers?: Record<string, string> }> {
    const { operation } = target;
    if (operation === 'token') return { status: 200, body: this.#accounts.token(body, this.tokenUrl) };
    if (operation === 'chunk' || operation === 'ask') return this.#bytes(target, request, act);

    const caller = this.#accounts.ofHeader(request.headers.authorization);
    if (!caller) throw refused('unauthenticated');
    const app = this.#apps.get(target.app);
    if (!app) throw refused('package_not_found', target.app);
    if (!caller.apps.includes(target.app)) throw refused('no_permission');
    if (operation === 'insert') return { status: 200, body: app.insert(caller.email) };

    const edit = app.edit(target.edit, caller.email);
    if (operation === 'delete') app.delete(edit);
    if (operation === 'delete') return { status: 204, body: null };
    if (operation === 'open') return this.#open(edit, target, request, act);
    return { status: 200, body: this.#inEdit(app, edit, target, request, body) };
  }

  #inEdit(app: PlayApp, edit: Edit, { operation, track }: Target, request: IncomingMessage, body: string): object {
    const flag = new URL(request.url ?? '', this.url).searchParams.get('changesNotSentForReview');
    switch (operation) {
      case 'list-bundles':
        return { kind: 'androidpublisher#bundlesListResponse', bundles: app.files(edit, 'bundles') };
      case 'list-apks':
        return { kind: 'androidpublisher#apksListResponse', apks: app.files(edit, 'apks') };
      case 'list-tracks':
        return app.tracks(edit);
      case 'get-track':
        return app.track(edit, track);
      case 'put-track':
        return app.putTrack(edit, track, JSON.parse(body) as { releases?: PlayRelease[] });
      case 'commit':
        if (body !== '') this.#violations.push('a commit has a body');
        return app.commit(edit, flag === 'true');
      default:
        return { id: edit.id };
    }
  }

  #open(edit: Edit, { kind, app }: Target, request: IncomingMessage, act: PlayAct | null) {
    const size = Number(request.headers['x-upload-content-length']);
    if (!(size > 0)) throw new Refused(400, { error: { code: 400, message: 'How long is it?' } });
    const upload = new Upload(edit, kind, size, this.#violations);
    this.#uploads.set(upload.id, upload);
    const path = `/upload/androidpublisher/v3/applications/${app}/edits/${edit.id}/${kind}`;
    const address = act?.kind === 'location' ? act.address : `${this.url}${path}?uploadType=resumable&upload_id=`;
    return { status: 200, body: null, headers: { Location: `${address}${upload.id}` } };
  }

  async #bytes(target: Target, request: IncomingMessage, act: PlayAct | null) {
    if (request.headers.authorization !== undefined) this.#violations.push('a token came with bytes');
    const upload = this.#uploads.get(target.upload);
    if (!upload) throw new Refused(404, { error: { code: 404, message: 'Not Found' } });
    if (act?.kind === 'forget') upload.forgotten = true;
    const cutAfter = act?.kind === 'cut' ? Number(request.headers['content-length']) / 2 : null;
    const result = await upload.put(request, act?.kind === 'damage', cutAfter);
    if (typeof result === 'object') return { status: 200, body: result };
    const headers: Record<string, string> = result > 0 ? { Range: `bytes=0-${result - 1}` } : {};
    return { status: 308, body: null, headers };
  }

  #record(operation: string, request: IncomingMessage, body: string): void {
    if (this.#requests.length >= REQUESTS_MAX) this.#requests.shift();
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    this.#requests.push({ operation, method: request.method ?? '', url: request.url ?? '', headers, body });
  }
}

function targetOf(request: IncomingMessage): Target | null {
  const { method = '', headers } = request;
  const url = new URL(request.url ?? '', 'http://play');
  const blank: Target = { operation: 'token', app: '', edit: '', kind: 'bundles', track: '', upload: '' };
  if (url.pathname === '/token') return method === 'POST' ? blank : null;
  const [, upload, app = '', edit = '', verb, part, name = ''] = API.exec(url.pathname) ?? [];
  if (app === '') return null;
  const target = {
    ...blank,
    app,
    edit,
    track: decodeURIComponent(name),
    upload: url.searchParams.get('upload_id') ?? '',
  };
  if (upload !== undefined) {
    if ((part !== 'bundles' && part !== 'apks') || url.searchParams.get('uploadType') !== 'resumable') return null;
    const asks = headers['content-range']?.startsWith('bytes */') === true;
    if (method === 'POST' && target.upload === '') return { ...target, kind: part, operation: 'open' };
    return method === 'PUT' ? { ...target, kind: part, operation: asks ? 'ask' : 'chunk' } : null;
  }
  const thing = verb ?? (name !== '' ? 'track' : (part ?? (edit === '' ? 'insert' : 'edit')));
  const operation = OPERATIONS[`${method} ${thing}`];
  return operation === undefined ? null : { ...target, operation };
}

function respond(
  response: ServerResponse,
  status: number,
  body: object | null,
  headers: Record<string, string> = {},
): void {
  const type = body === null ? {} : { 'Content-Type': 'application/json; charset=UTF-8' };
  response.writeHead(status, { ...type, ...headers }).end(body === null ? undefined : JSON.stringify(body));
}

async function wholeBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

const shownBody = async (request: IncomingMessage): Promise<string> =>
  (await wholeBody(request)).slice(0, BODY_SHOWN_BYTES);

/** Reads what is left, so that the client sees the answer. */
async function drained(request: IncomingMessage): Promise<void> {
  for await (const _ of request) {
  }
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
}

export async function startPlay(): Promise<Play> {
  const play = new PlayServer();
  const servers = [createServer(play.handle), createServer(play.handleAsStranger)];
  const [url = '', strangerUrl = ''] = await Promise.all(servers.map(listening));
  play.url = url;
  return Object.assign(play, {
    strangerUrl,
    stop: async () => {
      await Promise.all(
        servers.map(
          (server) =>
            new Promise((resolve) => {
              server.close(resolve);
              server.closeAllConnections();
            }),
        ),
      );
    },
  }) as unknown as Play;
}
