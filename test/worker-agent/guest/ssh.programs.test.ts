import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { execa } from 'execa';
import ssh2 from 'ssh2';
import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';
import type { GuestCommand } from '../../../worker-agent/guest/commands.ts';
import * as guest from '../../../worker-agent/guest/commands.ts';
import { connectSsh } from '../../../worker-agent/guest/ssh.ts';
import { SshError } from '../../../worker-agent/guest/ssh-error.ts';
import { generateKeyPair } from '../../../worker-agent/tart-simulator/key-pair.ts';
import { testWith } from '../../set-up/test-with.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';
import { startOpenSsh } from '../servers/openssh-server.ts';

const LONG = { timeoutMs: 30_000 };
/** A command that is not in the agent's closed list, which these tests may run. */
const command = (text: string) => ({ name: 'test', text: () => text, input: null }) as unknown as GuestCommand;
const sshErrorOf = (promise: Promise<unknown>): Promise<SshError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => (error instanceof SshError ? error : Promise.reject(error)),
  );

/** Accepts every connection and sends nothing, as the kernel of a frozen guest does. */
async function silentServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => {}).resume()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An SSH server in this process, which lets everybody in. */
async function sshServerHere(onClient: (client: ssh2.Connection) => void) {
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [generateKeyPair().private] }, (client) => {
    clients.add(client.on('error', () => {}));
    client.on('authentication', (context) => context.accept());
    onClient(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const someKey = async () => {
  using dir = temporaryDir();
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${dir.path}/key`]);
  return (await execa('cat', [`${dir.path}/key`])).stdout.concat('\n');
};
const nowhere = async (port: number) => ({
  host: '127.0.0.1',
  port,
  user: 'nobody',
  privateKey: await someKey(),
  connectTimeoutMs: 300,
});

const onServer = testWith('sshd');

test('a port where nothing listens is refused', async () => {
  const target = { ...(await nowhere(await freePort())), connectTimeoutMs: 60_000 };
  expect((await sshErrorOf(connectSsh(target))).kind).toBe('refused');
});

test('a server that accepts and says nothing is silent, and our socket is gone', async () => {
  await using server = await silentServer();
  const error = await sshErrorOf(connectSsh(await nowhere(server.port)));
  expect(error.kind).toBe('silent');
  await until(() => [...server.sockets].every((socket) => socket.readableEnded || socket.closed), 'closed');
});

test('after a stall of the agent, what the server has answered meanwhile counts', async () => {
  await using server = await silentServer();
  for (const [port, kind] of [
    [server.port, 'silent'],
    [await freePort(), 'refused'],
  ] as const) {
    const target = await nowhere(port);
    const connecting = sshErrorOf(connectSsh(target));
    // Node connects in the tick before, and hears of it in a turn of its loop after the stall.
    process.nextTick(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * target.connectTimeoutMs));
    expect((await connecting).kind).toBe(kind);
  }
});

test('an aborted signal ends the attempt to connect', async () => {
  await using server = await silentServer();
  const target = { ...(await nowhere(server.port)), connectTimeoutMs: 60_000 };
  const abort = new AbortController();
  const connecting = sshErrorOf(connectSsh({ ...target, signal: abort.signal }));
  await until(() => server.sockets.size > 0, 'a connection');
  abort.abort();
  expect((await connecting).kind).toBe('aborted');
  expect((await sshErrorOf(connectSsh({ ...target, signal: AbortSignal.abort() }))).kind).toBe('aborted');
});

test('a private key that is none is an auth error, not a crash', async () => {
  await using server = await silentServer();
  const error = await sshErrorOf(connectSsh({ ...(await nowhere(server.port)), privateKey: 'not a key' }));
  expect(error.kind).toBe('auth');
});

onServer('a command answers with its output, its errors and its exit code', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const result = await ssh.exec(command('echo out; echo err >&2; exit 7'), LONG);
  expect(result).toEqual({ exitCode: 7, exitSignal: null, stdout: Buffer.from('out\n'), stderr: 'err\n' });
  const killed = await ssh.exec(command('kill -KILL $$'), LONG);
  expect(killed).toMatchObject({ exitCode: null, exitSignal: 'KILL' });
});

test('an exit status that comes in one piece with everything else is heard', async () => {
  await using server = await sshServerHere((client) => {
    client.on('session', (accept) =>
      accept().on('exec', (acceptExec) => {
        const stream = acceptExec();
        stream.write('done');
        stream.exit(0);
        stream.end();
      }),
    );
  });
  await using ssh = await connectSsh({ ...(await nowhere(server.port)), connectTimeoutMs: 10_000 });
  for (let time = 0; time < 50; time++) {
    const { exitCode, stdout } = await ssh.exec(command('true'), LONG);
    expect([exitCode, stdout.toString()]).toEqual([0, 'done']);
    const shell = await ssh.shell(command('true'), null);
    shell.stdout.resume();
    expect(await shell.done).toBe(0);
  }
});

onServer('standard input reaches the command whole, from text, bytes and streams', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const bytes = randomBytes(5_000_000);
  for (const stdin of [bytes, Readable.from([bytes.subarray(0, 1_234_567), bytes.subarray(1_234_567)])]) {
    const { stdout } = await ssh.exec(command('sha256sum'), { ...LONG, stdin });
    expect(stdout.toString().slice(0, 64)).toBe(createHash('sha256').update(bytes).digest('hex'));
  }
  const echoed = await ssh.exec(command('cat'), { ...LONG, stdin: bytes, maxOutputBytes: bytes.length });
  expect(echoed.stdout.equals(bytes)).toBe(true);
  const ignored = await ssh.exec(command('exit 3'), { ...LONG, stdin: bytes });
  expect(ignored.exitCode).toBe(3);
});

onServer('an input that breaks in the middle is an error, not an end', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const broken = Readable.from(
    (function* () {
      yield Buffer.alloc(1000);
      throw new Error('disk gone');
    })(),
  );
  const error = await sshErrorOf(ssh.exec(command('cat >/dev/null'), { ...LONG, stdin: broken }));
  expect(error.message).toContain('disk gone');
});

onServer('a command past its deadline is given up, and the connection stays usable', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const error = await sshErrorOf(ssh.exec(command('exec sleep 300'), { timeoutMs: 100 }));
  expect(error.kind).toBe('timeout');
  expect((await ssh.exec(guest.echoAlive(), LONG)).stdout.toString()).toBe('alive\n');
});

onServer('commands that hang for ever use up one connection, and a new one works', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const kinds = new Set<string>();
  const hang = async () => {
    const abort = new AbortController();
    const running = await ssh.open(command("trap '' TERM HUP; echo up; sleep 600"), { ...LONG, signal: abort.signal });
    await running.stdout.take(1).toArray();
    abort.abort();
    return running.done;
  };
  // These commands ignore SIGTERM. sshd allows ten sessions on a connection.
  for (let i = 0; i < 12; i++) kinds.add((await sshErrorOf(hang())).kind);
  expect([...kinds]).toEqual(['aborted', 'refused']);
  await using again = await connectSsh(server.target);
  expect((await again.exec(guest.echoAlive(), LONG)).stdout.toString()).toBe('alive\n');
});

onServer('an aborted command rejects at once', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const abort = new AbortController();
  const running = await ssh.open(command('echo up; exec sleep 300'), { ...LONG, signal: abort.signal });
  const [first] = await running.stdout.take(1).toArray();
  expect(String(first)).toBe('up\n');
  abort.abort();
  expect((await sshErrorOf(running.done)).kind).toBe('aborted');
});

onServer('more output than allowed is an error, not a shorter answer', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const error = await sshErrorOf(ssh.exec(command('exec cat /dev/zero'), { ...LONG, maxOutputBytes: 100_000 }));
  expect(error.kind).toBe('overflow');
});

onServer('twenty commands at once share the channels that sshd grants', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, index) => ssh.exec(command(`sleep 0.05; echo ${index}`), LONG)),
  );
  expect(results.map((result) => result.stdout.toString())).toEqual(
    Array.from({ length: 20 }, (_, index) => `${index}\n`),
  );
});

onServer('a streamed command gives its bytes as they come, and its end', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const running = await ssh.open(command('head -c 3000000 /dev/zero; exit 4'), LONG);
  running.stdin.end();
  const [bytes, exited] = await Promise.all([buffer(running.stdout), running.done]);
  expect(bytes.length).toBe(3_000_000);
  expect(exited.exitCode).toBe(4);
});

onServer('a streamed command that has closed its output and goes on is silent', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const stream = await ssh.stream(command('echo all; exec >&- 2>&-; sleep 600'), { silenceMs: 2_000 });
  expect([String(await stream.read()), await stream.read()]).toEqual(['all\n', null]);
  expect(await sshErrorOf(stream.exited())).toMatchObject({
    ...{ kind: 'timeout', message: 'test has said nothing for 2 s' },
  });
});

onServer('another key is refused, and so is another host key', async () => {
  await using server = await startOpenSsh();
  expect((await sshErrorOf(connectSsh({ ...server.target, privateKey: await someKey() }))).kind).toBe('auth');
  expect((await sshErrorOf(connectSsh({ ...server.target, hostFingerprint: 'AAAA' }))).kind).toBe('auth');
  await using ssh = await connectSsh({ ...server.target, hostFingerprint: server.hostFingerprint });
  expect(ssh.hostFingerprint).toBe(server.hostFingerprint);
});

onServer('a connection that the server ends rejects what runs and says so once', async () => {
  await using server = await startOpenSsh();
  await using ssh = await connectSsh(server.target);
  const running = sshErrorOf(ssh.exec(command('kill -KILL $PPID; exec sleep 300'), LONG));
  expect((await running).kind).toBe('closed');
  expect((await ssh.closed)?.kind).toBe('closed');
  expect(ssh.signal.aborted).toBe(true);
  expect((await sshErrorOf(ssh.exec(guest.echoAlive(), LONG))).kind).toBe('closed');
});

test('a frozen server is noticed by keepalives: silent, not waited for', async () => {
  let freeze = () => {};
  await using server = await sshServerHere((client) => {
    client.on('session', (accept) => accept().on('exec', () => freeze()));
  });
  // A door before the server, in this process too: it answers all keepalives until it hears of the command.
  const sockets = new Set<Socket>();
  const door = createServer((inner) => {
    const outer = connect({ host: '127.0.0.1', port: server.port });
    for (const socket of [inner, outer]) sockets.add(socket.on('error', () => {}));
    inner.pipe(outer).pipe(inner);
    freeze = () => inner.unpipe(outer).pause();
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = door.address() as { port: number };
    const target = { ...(await nowhere(port)), connectTimeoutMs: 60_000, keepaliveIntervalMs: 200 };
    await using ssh = await connectSsh(target);
    const running = sshErrorOf(ssh.exec(command('exec sleep 300'), { timeoutMs: 60_000 }));
    expect((await running).kind).toBe('silent');
    expect((await ssh.closed)?.kind).toBe('silent');
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => door.close(resolve));
  }
});

onServer('closing it ourselves is no error, and detached work goes on', async () => {
  await using server = await startOpenSsh();
  const ssh = await connectSsh(server.target);
  await ssh.exec(
    command(`bash -c 'set -m; ( sleep 0.3; echo done >"$HOME/later" ) >/dev/null 2>&1 </dev/null &'`),
    LONG,
  );
  ssh.close();
  expect(await ssh.closed).toBeNull();
  await using again = await connectSsh(server.target);
  await until(async () => (await again.exec(command('cat "$HOME/later"'), LONG)).exitCode === 0, 'the detached work');
});
