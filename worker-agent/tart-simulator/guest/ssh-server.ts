/**
 * Serves SSH for a guest, like OpenSSH in everything that the agent relies on. `interoperability.test.ts`
 * runs one table of cases against both.
 *
 * Invariant: it listens only on loopback and accepts only public keys, because its shells run as the user who
 * runs the simulator.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import ssh2 from 'ssh2';
import { type AuthorizedKey, parseAuthorizedKeys } from './authorized-keys.ts';
import type { NetworkCard } from './network-card.ts';
import { type TerminalSize, wordsOnTerminal } from './terminal.ts';

export interface SshServerOptions {
  /** The private key, in OpenSSH's format. */
  hostKey: string;
  user: string;
  home: string;
  /** Read at each login, as sshd does. */
  authorizedKeys(): string;
  /** The environment of each shell, without the variables that SSH adds. */
  environment(): Record<string, string>;
  networkCard?: NetworkCard;
}

/** `refuse` accepts no connections and drops the open ones; `hang` accepts them and lets nothing through. */
export type SshBehaviour = 'serve' | 'refuse' | 'hang';

const SESSIONS_MAX = 10;
/** SIGXFSZ is ignored so that programs on a full disk see an error instead of dying. */
const SHELL = 'trap "" XFSZ; exec /bin/bash "$@"';

export class SshServer {
  readonly #options: SshServerOptions;
  readonly #ssh: ssh2.Server;
  readonly #sockets = new Set<Socket>();
  #listener: Server | undefined;
  #address = { port: 0, host: '' };
  #behaviour: SshBehaviour = 'serve';

  constructor(options: SshServerOptions) {
    this.#options = options;
    this.#ssh = new ssh2.Server({ hostKeys: [options.hostKey], ident: 'OpenSSH_9.9' }, (client, peer) =>
      this.#greet(client, peer),
    );
  }

  /** Rejects with the system's error, such as EADDRINUSE. */
  async listen(port: number, host: string): Promise<void> {
    const listener = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    listener.listen({ port, host, exclusive: true });
    await once(listener, 'listening');
    this.#listener = listener;
    this.#address = { port: (listener.address() as { port: number }).port, host };
  }

  get port(): number {
    return this.#address.port;
  }

  async behave(behaviour: SshBehaviour): Promise<void> {
    if (behaviour === this.#behaviour) return;
    this.#behaviour = behaviour;
    for (const socket of this.#sockets) {
      if (behaviour === 'refuse') socket.destroy();
      else if (behaviour === 'hang') socket.pause().cork();
      else {
        socket.uncork();
        socket.resume();
      }
    }
    if (behaviour === 'refuse') this.#listener?.close();
    else if (!this.#listener?.listening) await this.listen(this.#address.port, this.#address.host);
  }

  close(): void {
    this.#listener?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    this.#options.networkCard?.count(socket, false);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    if (this.#behaviour === 'serve') this.#ssh.injectSocket(socket);
    else if (this.#behaviour === 'refuse') socket.destroy();
  }

  #greet(client: ssh2.Connection, peer: ssh2.ClientInfo): void {
    let allowedKey: AuthorizedKey | undefined;
    let sessions = 0;
    client.on('error', () => {}); // after a reset or a malformed packet the connection closes by itself
    client.on('authentication', (context) => {
      if (context.method !== 'publickey' || !sameText(context.username, this.#options.user))
        return context.reject(['publickey']);
      const allowed = parseAuthorizedKeys(this.#options.authorizedKeys()).find(
        ({ key }) => key.type === context.key.algo && key.getPublicSSH().equals(context.key.data),
      );
      if (!allowed) return context.reject(['publickey']);
      const { signature, blob, hashAlgo } = context;
      if (signature && blob && allowed.key.verify(blob, signature, hashAlgo) !== true)
        return context.reject(['publickey']);
      allowedKey = allowed;
      return context.accept();
    });
    client.on('session', (accept, reject) => {
      if (sessions >= SESSIONS_MAX) return reject();
      sessions++;
      const session = accept();
      session.once('close', () => sessions--);
      this.#serve(session, peer, () => allowedKey);
    });
  }

  #serve(session: ssh2.Session, { ip, port }: ssh2.ClientInfo, key: () => AuthorizedKey | undefined): void {
    const { host, port: ownPort } = this.#address;
    const environment: Record<string, string> = { SSH_CONNECTION: `${ip} ${port} ${host} ${ownPort}` };
    let terminal: TerminalSize | null = null;
    session.on('env', (accept, reject, { key, val }) => {
      if (!/^(LANG|LC_\w+)$/.test(key)) return reject?.();
      environment[key] = val;
      return accept?.();
    });
    session.on('pty', (accept, reject, { rows, cols, term }) => {
      if (!key()?.terminal) return reject?.();
      terminal = { rows, columns: cols };
      environment.TERM = term;
      return accept?.();
    });
    session.on('window-change', (accept) => accept?.());
    const run = (stream: ssh2.ServerChannel, asked: string | undefined) => {
      const forced = key()?.command;
      if (forced && asked !== undefined) environment.SSH_ORIGINAL_COMMAND = asked;
      const command = forced ?? asked;
      const plain = ['/bin/sh', '-c', SHELL, 'sh', ...(command === undefined ? ['-l'] : ['-c', command])];
      const [file, ...words] = terminal ? wordsOnTerminal(plain, terminal) : plain;
      const child = spawn(file!, words, {
        cwd: this.#options.home,
        env: { ...this.#options.environment(), ...environment },
        detached: true, // a session of its own, as from sshd, so that its process group can get signals
        stdio: 'pipe',
      });
      connect(child, stream);
    };
    session.on('exec', (accept, _reject, { command }) => run(accept(), command));
    session.on('shell', (accept) => run(accept(), undefined));
  }
}

/**
 * The channel closes when the command has ended *and* no process has its output open any more, as `sleep 3 &`
 * has. If the client disconnects first, the pipes close, and the command lives until it writes.
 */
function connect(child: ChildProcess, stream: ssh2.ServerChannel): void {
  const { stdin, stdout, stderr } = child;
  if (!stdin || !stdout || !stderr) return;
  for (const pipe of [stdin, stdout, stderr, stream, stream.stderr]) pipe.on('error', () => {});
  stream.pipe(stdin);
  stdout.pipe(stream, { end: false });
  stderr.pipe(stream.stderr, { end: false });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      if (signal) stream.exit(signal.replace(/^SIG/, ''), false, '');
      else stream.exit(code ?? 255);
      resolve();
    });
    child.once('error', () => {
      stream.exit(255);
      resolve();
    });
  });
  const silent = new Promise((resolve) => stdout.once('close', resolve));
  Promise.all([ended, silent]).then(() => stream.end());
  stream.once('close', () => {
    for (const pipe of [stdin, stdout, stderr]) pipe.destroy();
  });
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
