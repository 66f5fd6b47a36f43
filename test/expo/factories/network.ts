/**
 * Watches what a build connects to: a proxy on loopback that notes each host, and strace for every connection
 * that goes past the proxy.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

export interface WatchedNetwork extends Disposable {
  /** Makes npm, Node and curl use the proxy. */
  env: Record<string, string>;
  /** The hosts that were asked for through the proxy. */
  hosts(): string[];
  /** Put before a program: it and all its children are traced. Empty without strace. */
  wrapper: string[];
  /**
   * The same as words of a shell, for the shell of a build in a VM: it keeps its process id and its parent,
   * and does not see strace among the processes of the build, which it ends.
   */
  wrapperInVm: string[];
  /**
   * `ADDRESS:PORT` of each connection past the proxy to another machine, but for the one that sends nothing.
   * Null without strace.
   */
  connections(): string[] | null;
}

/** The variable that each process of a build has. */
const MARK = 'TARTBEAT_STATE';
/** The exporter of Expo asks the system which of its addresses leads outside. It sends nothing. */
const ASKS_FOR_ITS_OWN_ADDRESS = '1.1.1.1:53';

export async function watchNetwork(traceFile: string): Promise<WatchedNetwork> {
  const hosts = new Set<string>();
  const server: Server = createServer((request, response) => {
    hosts.add(URL.canParse(request.url ?? '') ? new URL(request.url!).host : String(request.url));
    response.writeHead(502).end();
  });
  server.on('connect', (request, inner) => {
    hosts.add(request.url ?? '');
    const { hostname, port } = new URL(`http://${request.url}`);
    const outer = connect({ host: hostname, port: Number(port || 443) }, () => {
      inner.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      inner.pipe(outer).pipe(inner);
    });
    outer.on('error', () => inner.destroy());
    inner.on('error', () => outer.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hasStrace = ['/usr/bin/strace', '/bin/strace'].some((path) => existsSync(path));
  if (!hasStrace && process.env.CI) throw new Error('in CI strace must be there: `sudo apt-get install strace`');
  const wrapper = hasStrace
    ? ['strace', '-f', '--seccomp-bpf', '-qq', '-e', 'trace=connect', '-e', 'signal=none', '-o', traceFile]
    : [];
  return {
    env: {
      ...Object.fromEntries(['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'].map((name) => [name, url])),
      npm_config_proxy: url,
      npm_config_https_proxy: url,
      NODE_USE_ENV_PROXY: '1',
    },
    hosts: () => [...hosts].sort(),
    wrapper,
    wrapperInVm: hasStrace ? ['env', '-u', MARK, 'strace', '-DD', '-E', `"${MARK}=$${MARK}"`, ...wrapper.slice(1)] : [],
    connections: () => (hasStrace ? connectionsIn(readFileSync(traceFile, 'utf8')) : null),
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function connectionsIn(trace: string): string[] {
  const found = new Set<string>();
  for (const line of trace.split('\n')) {
    const [, port] = /sin6?_port=htons\((\d+)\)/.exec(line) ?? [];
    const [, address] = /(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"/.exec(line) ?? [];
    if (address && !/^(127\.|::1$|::ffff:127\.)/.test(address)) found.add(`${address}:${port}`);
  }
  found.delete(ASKS_FOR_ITS_OWN_ADDRESS);
  return [...found].sort();
}
