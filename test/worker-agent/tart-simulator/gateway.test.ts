import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { Gateway, proxyFor } from '../../../worker-agent/tart-simulator/guest/gateway.ts';
import { type Softnet, softnetPasses } from '../../../worker-agent/tart-simulator/guest/softnet.ts';

/** Starts a gateway on this machine, and a `curl` that goes through it as a guest's does. */
async function gateway(environment: NodeJS.ProcessEnv = {}, softnet: Softnet | null = null) {
  const gateway = new Gateway(environment, softnet);
  const url = await gateway.listen('127.0.0.1');
  const curl = async (...args: string[]) =>
    (
      await execa('curl', ['-q', '-sS', '--max-time', '20', '--noproxy', '', '-x', url, ...args], {
        reject: false,
        env: { no_proxy: '' },
      })
    ).stdout;
  return { gateway, url, curl, [Symbol.dispose]: () => gateway.close() };
}

async function listening(server: Server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const echo = () =>
  createServer(async (request, response) => {
    const body = (await request.toArray()).join('');
    response.writeHead(201, { 'x-answer': 'yes' });
    response.end(`${request.method} ${request.url} ${request.headers.host} ${body}`);
  });

test('a plain request reaches the host at the address at which a VM sees it, unchanged', async () => {
  await using server = await listening(echo());
  using guest = await gateway();
  const answer = await guest.curl('-i', '-d', 'body', `http://192.168.64.1:${server.port}/path?q=1`);
  expect(answer).toMatch(/^HTTP\/1\.1 201 Created/);
  expect(answer).toMatch(/x-answer: yes/i);
  expect(answer).toContain(`POST /path?q=1 192.168.64.1:${server.port} body`);
});

test('a tunnel does, too', async () => {
  await using server = await listening(echo());
  using guest = await gateway();
  expect(await guest.curl('-p', `http://192.168.64.1:${server.port}/path`)).toMatch(/^GET \/path /);
});

test("the cloud's metadata address is refused, however it is written", async () => {
  using guest = await gateway();
  for (const host of ['169.254.169.254', '2852039166', '0xa9fea9fe', '[::ffff:169.254.169.254]', '169.254.1.1'])
    for (const way of [[], ['-p']]) {
      const answer = await guest.curl('-i', ...way, `http://${host}/latest/meta-data/`);
      expect(`${answer} `, host).toMatch(/^(HTTP\/1\.1 403 | $)/);
    }
});

const ONLY = { block: ['0.0.0.0/0'], allow: ['192.0.2.1/32'] };
test.for<[string, Softnet, string, boolean]>([
  ['the internet', { allow: [], block: [] }, '93.184.215.14', true],
  ['the host', { allow: [], block: [] }, '192.168.64.1', true],
  ['another VM', { allow: [], block: [] }, '192.168.64.7', false],
  ['the metadata address', { allow: [], block: [] }, '169.254.169.254', false],
  ['IPv6', { allow: [], block: [] }, '2606:2800::1', false],
  ['a network that is allowed', { allow: ['10.0.0.0/8'], block: [] }, '10.1.1.1', true],
  ['a part of it that is not', { allow: ['10.0.0.0/8'], block: ['10.1.0.0/16'] }, '10.1.1.1', false],
  ['both alike', { allow: ['10.0.0.0/8'], block: ['10.0.0.0/8'] }, '10.1.1.1', false],
  ['the controller alone', ONLY, '192.0.2.1', true],
  ['its neighbour', ONLY, '192.0.2.2', false],
  ['the host, with all else blocked', ONLY, '192.168.64.1', true],
])('softnet: %s, %j: %s passes: %s', ([, softnet, address, passes]) => {
  expect(softnetPasses(softnet, '192.168.64.1', address)).toBe(passes);
});

test('behind softnet a guest reaches its host and what is allowed, and nothing else', async () => {
  await using server = await listening(echo());
  using guest = await gateway({}, { block: ['0.0.0.0/0'], allow: ['127.0.0.2/32'] });
  for (const way of [[], ['-p']]) {
    expect(await guest.curl(...way, `http://192.168.64.1:${server.port}/`)).toMatch(/^GET/);
    for (const host of ['127.0.0.1', '93.184.215.14', 'no-such-host.invalid'])
      expect(`${await guest.curl('-i', ...way, `http://${host}:${server.port}/`)} `, host).toMatch(
        /^(HTTP\/1\.1 403| $)/,
      );
  }
});

test('nothing there, nonsense, and a client that leaves do no harm', async () => {
  using guest = await gateway();
  expect(await guest.curl('-i', 'http://192.168.64.1:1/')).toMatch(/^HTTP\/1\.1 502/);
  const { port } = new URL(guest.url);
  for (const nonsense of ['\0\0\0\0\r\n\r\n', 'CONNECT :::: HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n']) {
    const socket = connect(Number(port), '127.0.0.1');
    socket.end(nonsense);
    socket.resume();
    await once(socket, 'close');
  }
  await using server = await listening(echo());
  expect(await guest.curl(`http://192.168.64.1:${server.port}/`)).toMatch(/^GET/);
});

test("the host's own proxy is used, with its password, for all but what the host excepts", async () => {
  const asked: string[] = [];
  const record = (what: string | undefined, authorization: string | undefined) =>
    asked.push(`${what} ${authorization}`);
  const proxy = createServer((request, response) => {
    record(request.url, request.headers['proxy-authorization']);
    response.end('from the proxy');
  });
  proxy.on('connect', (request, socket) => {
    record(request.url, request.headers['proxy-authorization']);
    socket.end('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ntunnel');
  });
  await using outer = await listening(proxy);
  await using server = await listening(echo());
  const url = `http://me:secret@127.0.0.1:${outer.port}`;
  using guest = await gateway({ http_proxy: url, HTTPS_PROXY: url, no_proxy: '.internal' });
  expect(await guest.curl('http://registry.example/pkg')).toBe('from the proxy');
  expect(await guest.curl('-p', 'http://registry.example/pkg')).toBe('tunnel');
  const authorization = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  expect(asked).toEqual([`http://registry.example/pkg ${authorization}`, `registry.example:80 ${authorization}`]);
  expect(await guest.curl(`http://192.168.64.1:${server.port}/`)).toMatch(/^GET/);
});

test.for<[string, string, number, NodeJS.ProcessEnv, string | undefined]>([
  ['https:', 'a.com', 443, {}, undefined],
  ['https:', 'a.com', 443, { https_proxy: 'http://p:1' }, 'http://p:1/'],
  ['https:', 'a.com', 443, { HTTPS_PROXY: 'p:1' }, 'http://p:1/'],
  ['https:', 'a.com', 443, { http_proxy: 'http://p:1' }, undefined],
  ['http:', 'a.com', 80, { http_proxy: 'http://p:1' }, 'http://p:1/'],
  ['http:', 'a.com', 80, { ALL_PROXY: 'http://p:1' }, 'http://p:1/'],
  ['https:', 'a.com', 443, { npm_config_https_proxy: 'http://p:1' }, 'http://p:1/'],
  ['http:', 'a.com', 80, { http_proxy: 'http://p:1', no_proxy: '*' }, undefined],
  ['http:', 'x.a.com', 80, { http_proxy: 'http://p:1', no_proxy: 'b.com, a.com' }, undefined],
  ['http:', 'x.a.com', 80, { http_proxy: 'http://p:1', no_proxy: '.a.com' }, undefined],
  ['http:', 'xa.com', 80, { http_proxy: 'http://p:1', no_proxy: 'a.com' }, 'http://p:1/'],
  ['http:', 'a.com', 80, { http_proxy: 'http://p:1', no_proxy: 'a.com:81' }, 'http://p:1/'],
  ['http:', '127.0.0.1', 80, { http_proxy: 'http://p:1' }, undefined],
])('%s//%s:%i with %j goes through %s', ([protocol, host, port, environment, expected]) => {
  expect(proxyFor(protocol, host, port, environment)?.href).toBe(expected);
});
