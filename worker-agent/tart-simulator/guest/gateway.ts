/**
 * Connects a VM to the network, by an HTTP proxy that the guest's environment names. It forwards to every
 * address that the host can reach, through the host's own proxy if there is one. A guest's traffic leaves
 * only through here.
 *
 * The VM sees its host at 192.168.64.1, as on Tart. The gateway refuses 169.254.0.0/16, where clouds have
 * their metadata address, and with softnet all addresses that softnet refuses.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as secureRequest } from 'node:https';
import { BlockList, connect, isIP, type Socket } from 'node:net';
import type { NetworkCard } from './network-card.ts';
import { type Softnet, softnetPasses } from './softnet.ts';

/** The host's address for a VM on Tart's network. */
export const HOST_SEEN_FROM_VM = '192.168.64.1';

const CONNECT_TIMEOUT_MS = 30_000;
const HOP_BY_HOP = ['proxy-connection', 'proxy-authorization', 'proxy-authenticate'];

const refused = new BlockList();
refused.addSubnet('169.254.0.0', 16, 'ipv4');
refused.addSubnet('fe80::', 10, 'ipv6');
refused.addAddress('fd00:ec2::254', 'ipv6');

export class Gateway {
  readonly #server: Server;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #inner = new Set<Socket>();
  readonly #outer = new Set<Socket>();
  readonly #softnet: Softnet | null;
  #cut = false;

  /** `environment` is the host's, with its proxy settings. */
  constructor(environment: NodeJS.ProcessEnv, softnet: Softnet | null = null, networkCard: NetworkCard | null = null) {
    this.#environment = environment;
    this.#softnet = softnet;
    this.#server = createServer((incoming, response) => void this.#forward(incoming, response));
    this.#server.on('connect', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
      void this.#tunnel(incoming.url ?? '', socket, head);
    });
    this.#server.on('connection', (socket: Socket) => {
      remember(this.#inner, socket);
      networkCard?.count(socket, true);
    });
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    this.#server.requestTimeout = 0; // an upload may take any time
    this.#server.headersTimeout = CONNECT_TIMEOUT_MS;
  }

  async listen(host: string): Promise<string> {
    this.#server.listen({ port: 0, host });
    await once(this.#server, 'listening');
    return `http://${host}:${(this.#server.address() as { port: number }).port}`;
  }

  /** Stops forwarding. The guest gets no error and waits, as it would with a cable pulled out. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#inner) socket.unpipe();
    for (const socket of this.#outer) socket.unpipe().destroy();
  }

  restore(): void {
    if (!this.#cut) return;
    this.#cut = false;
    for (const socket of this.#inner) socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of [...this.#inner, ...this.#outer]) socket.destroy();
  }

  async #tunnel(authority: string, inner: Socket, head: Buffer): Promise<void> {
    inner.on('error', () => {});
    if (this.#cut) return;
    const target = URL.canParse(`http://${authority}`) ? new URL(`http://${authority}`) : undefined;
    const port = Number(/:(\d+)$/.exec(authority)?.[1] ?? 443);
    const refusal = target ? await refusalOf(target.hostname, this.#softnet) : 'not an address';
    if (!target || refusal) return void inner.end(`HTTP/1.1 403 Forbidden\r\n\r\n${refusal}\n`);
    try {
      const outer = await this.#connect(hostFor(target.hostname), port);
      if (this.#cut) return void outer.destroy();
      outer.write(head);
      inner.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      inner.pipe(outer).pipe(inner);
      inner.once('close', () => outer.destroy());
      outer.once('close', () => this.#cut || inner.destroySoon());
    } catch (error) {
      if (!this.#cut) inner.end(`HTTP/1.1 502 Bad Gateway\r\n\r\n${(error as Error).message}\n`);
    }
  }

  async #connect(host: string, port: number): Promise<Socket> {
    const proxy = proxyFor('https:', host, port, this.#environment);
    if (!proxy) {
      const socket = connect({ host, port, noDelay: true, timeout: CONNECT_TIMEOUT_MS });
      remember(this.#outer, socket);
      socket.once('timeout', () => socket.destroy(new Error(`${host}:${port} does not answer`)));
      await once(socket, 'connect');
      socket.setTimeout(0);
      return socket;
    }
    const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
    const asking = requestTo(proxy, { method: 'CONNECT', path: authority, headers: ['host', authority] });
    asking.end();
    const [answer, socket, head] = (await Promise.race([
      once(asking, 'connect'),
      once(asking, 'response'), // a proxy that refuses may answer as it answers any request
    ])) as [IncomingMessage, Socket?, Buffer?];
    if (answer.statusCode !== 200 || !socket) {
      asking.destroy();
      throw new Error(`the host's proxy answered ${answer.statusCode}`);
    }
    remember(this.#outer, socket);
    if (head?.length) socket.unshift(head); // some servers speak first
    return socket;
  }

  async #forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    if (this.#cut) return;
    const target = URL.canParse(incoming.url ?? '') ? new URL(incoming.url ?? '') : undefined;
    const refusal =
      target?.protocol === 'http:' ? await refusalOf(target.hostname, this.#softnet) : 'only http:// and CONNECT';
    if (!target || refusal) return void response.writeHead(403).end(`${refusal}\n`);
    const port = Number(target.port || 80);
    const host = hostFor(target.hostname);
    const headers = withoutHopByHop(incoming.rawHeaders);
    const proxy = proxyFor('http:', host, port, this.#environment);
    const options = { method: incoming.method, headers, path: `${target.pathname}${target.search}` };
    const outgoing = proxy
      ? requestTo(proxy, { ...options, path: target.href })
      : request({ ...options, host, port, agent: false, setHost: false });
    outgoing.once('socket', (socket) => remember(this.#outer, socket));
    outgoing.once('response', (answer) => {
      if (this.#cut) return;
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
      answer.on('error', () => this.#cut || response.destroy());
      answer.pipe(response);
    });
    outgoing.once('error', (error) => {
      if (this.#cut) return;
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end(`${error.message}\n`);
    });
    response.once('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  }
}

/** Why a guest may not connect to this host; undefined if it may. A name is judged by its addresses. */
async function refusalOf(hostname: string, softnet: Softnet | null): Promise<string | undefined> {
  const host = bare(hostname);
  const addresses = await lookup(host, { all: true }).catch(() => []); // the host's proxy may know it
  const passes = ({ address, family }: { address: string; family: number }) =>
    !refused.check(address, family === 6 ? 'ipv6' : 'ipv4') &&
    (!softnet || softnetPasses(softnet, HOST_SEEN_FROM_VM, address));
  // softnet judges addresses, so it refuses a name that has none.
  const bad = softnet ? !addresses.some(passes) : !addresses.every(passes);
  return bad ? `${host} is not reachable from a VM` : undefined;
}

const bare = (hostname: string) => hostname.replace(/^\[|\]$/g, '');
const hostFor = (hostname: string) => (hostname === HOST_SEEN_FROM_VM ? '127.0.0.1' : bare(hostname));

/** The proxy that the host itself uses for this address. Pure. */
export function proxyFor(
  protocol: string,
  host: string,
  port: number,
  environment: NodeJS.ProcessEnv,
): URL | undefined {
  const setting = (name: string) => environment[name] || environment[name.toUpperCase()];
  const value =
    protocol === 'https:'
      ? setting('https_proxy') || environment.npm_config_https_proxy || environment.npm_config_proxy
      : setting('http_proxy') || environment.npm_config_proxy;
  const url = value || setting('all_proxy');
  if (!url || host === 'localhost' || host.startsWith('127.') || host === '::1') return undefined;
  const exempt = (setting('no_proxy') ?? '').split(/[\s,]+/).filter(Boolean);
  const matches = (entry: string) => {
    const [name = '', onlyPort] = entry
      .toLowerCase()
      .replace(/^\*?\./, '')
      .split(':');
    if (onlyPort && Number(onlyPort) !== port) return false;
    return entry === '*' || host.toLowerCase() === name || host.toLowerCase().endsWith(`.${name}`);
  };
  if (exempt.some(matches)) return undefined;
  const full = url.includes('://') ? url : `http://${url}`;
  return URL.canParse(full) ? new URL(full) : undefined;
}

function requestTo(
  proxy: URL,
  options: { method: string | undefined; path: string; headers: string[] },
): ClientRequest {
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
  const send = proxy.protocol === 'https:' ? secureRequest : request;
  return send({
    ...options,
    headers: proxy.username ? [...options.headers, 'proxy-authorization', authorization] : options.headers,
    host: bare(proxy.hostname),
    port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
    agent: false,
    setHost: false,
    timeout: CONNECT_TIMEOUT_MS,
  });
}

function withoutHopByHop(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, index) => !HOP_BY_HOP.includes(rawHeaders[index - (index % 2)]!.toLowerCase()));
}

function remember(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.on('error', () => {});
  socket.once('close', () => sockets.delete(socket));
}
