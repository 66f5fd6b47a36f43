/**
 * The only module that uses ssh2. One connection per VM, and commands from guest-commands.ts alone.
 *
 * Invariant: nothing here waits without a bound. Connecting, every command, and a peer that has gone silent each end by a clock, and
 * the socket is ours, so that it can be destroyed: a connection that ssh2 has ended stays open for as long as a frozen guest does.
 */
import { createHash } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { PassThrough, Readable, type Writable } from 'node:stream';
import ssh2, { type ClientChannel } from 'ssh2';
import { awakeTimer } from '../mac/running-clock.ts';
import type { GuestCommand } from './commands.ts';

/**
 * refused  nothing listens, or no route; for a command: all sessions of the connection hang, so connect anew
 * timeout  no answer in time: to connect, or the command's own deadline
 * auth     the key or the host key is refused
 * silent   connected, then no SSH banner, or keepalives unanswered: a frozen guest
 * closed   the connection or the channel ended
 * aborted  our own signal
 * overflow the command printed more than allowed
 */
export type SshErrorKind = 'refused' | 'no_route' | 'timeout' | 'auth' | 'silent' | 'closed' | 'aborted' | 'overflow';

export class SshError extends Error {
  override name = 'SshError';
  kind: SshErrorKind;
  constructor(kind: SshErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export interface SshTarget {
  host: string;
  port: number;
  user: string;
  /** The key's text, OpenSSH format. */
  privateKey: string | Buffer;
  /** SHA-256 of the host key in base64, as `ssh-keygen -l` prints after `SHA256:`. Refused if another answers. */
  hostFingerprint?: string | undefined;
  connectTimeoutMs: number;
  signal?: AbortSignal | undefined;
  /** A frozen peer is noticed after at most three times this. */
  keepaliveIntervalMs?: number;
}

export interface OpenOptions {
  /** From the call to the end of the command, waiting for a free channel included. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export interface ExecOptions extends OpenOptions {
  /** Instead of the command's own input. */
  stdin?: string | Buffer | Readable;
  /** More is an `overflow`, since a truncated answer must not be mistaken for a whole one. */
  maxOutputBytes?: number;
}

export interface Exited {
  /** Null if a signal ended it. */
  exitCode: number | null;
  exitSignal: string | null;
  /** Its last 64 KiB. */
  stderr: string;
}

export interface ExecResult extends Exited {
  stdout: Buffer;
}

export interface SshProcess {
  /** Ended by the caller, unless the command has input of its own. */
  stdin: Writable;
  /** Must be read. Is destroyed with the SshError if the command does not end by itself. */
  stdout: Readable;
  /** Rejects with SshError if the connection, the deadline or the signal ended it first. */
  done: Promise<Exited>;
}

export interface Ssh extends AsyncDisposable {
  readonly hostFingerprint: string;
  /** Aborts when the connection is dead; the reason is an SshError. */
  readonly signal: AbortSignal;
  /** Settles when the connection is dead: null if we closed it. Never rejects. */
  readonly closed: Promise<SshError | null>;
  exec(command: GuestCommand, options: ExecOptions): Promise<ExecResult>;
  open(command: GuestCommand, options: OpenOptions): Promise<SshProcess>;
  /** Destroys the connection at once. Detached work in the guest goes on. */
  close(): void;
}

/** sshd refuses the eleventh session of a connection; two are left for those that are still closing. */
const CHANNELS_MAX = 8;
const KEEPALIVE_INTERVAL_MS = 5_000;
const KEEPALIVES_UNANSWERED_MAX = 2;
const OUTPUT_MAX_BYTES = 1024 * 1024;
const STDERR_KEPT_BYTES = 64 * 1024;

/** Rejects with SshError. */
export async function connectSsh(target: SshTarget): Promise<Ssh> {
  const { host, port, connectTimeoutMs, signal } = target;
  const where = `${host}:${port}`;
  if (signal?.aborted) throw new SshError('aborted', `connecting to ${where} was given up`);

  // noDelay: without it each command waits some 90 ms for the kernel to send its second packet.
  const socket = connectTcp({ host, port, noDelay: true });
  const client = new ssh2.Client();
  let fingerprint = '';
  let strangeHostKey = false;
  const dead = new AbortController();
  const { promise: closed, resolve: settleClosed } = Promise.withResolvers<SshError | null>();
  const die = (error: SshError, reported: SshError | null = error) => {
    if (dead.signal.aborted) return;
    dead.abort(error);
    settleClosed(reported);
    socket.destroy();
  };
  const close = () => die(new SshError('closed', `the SSH connection to ${where} was closed by the agent`), null);

  await new Promise<void>((resolve, reject) => {
    const deadline = setTimeout(() => {
      const silent = socket.readyState === 'open';
      const seconds = connectTimeoutMs / 1000;
      die(
        silent
          ? new SshError('silent', `${where} accepts connections, but SSH did not answer within ${seconds} s`)
          : new SshError('timeout', `${where} did not answer within ${seconds} s`),
      );
    }, connectTimeoutMs);
    const onAbort = () => die(new SshError('aborted', `connecting to ${where} was given up`));
    signal?.addEventListener('abort', onAbort, { once: true });
    const settle = () => {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', onAbort);
      dead.signal.removeEventListener('abort', onDead);
    };
    const onDead = () => {
      settle();
      reject(dead.signal.reason);
    };
    dead.signal.addEventListener('abort', onDead, { once: true });
    client.on('ready', () => {
      settle();
      resolve();
    });

    // Never `once`: ssh2 may report a second error after the first, and an error nobody hears ends the process.
    const onError = (error: Error & { level?: string; code?: string }) => die(explain(error, where, strangeHostKey));
    client.on('error', onError);
    socket.on('error', onError);
    client.on('close', () => die(new SshError('closed', `the SSH connection to ${where} ended`)));
    socket.on('close', () => die(new SshError('closed', `${where} ended the connection`)));

    try {
      client.connect({
        sock: socket,
        username: target.user,
        privateKey: target.privateKey,
        readyTimeout: 0, // the deadline above covers it
        keepaliveInterval: target.keepaliveIntervalMs ?? KEEPALIVE_INTERVAL_MS,
        keepaliveCountMax: KEEPALIVES_UNANSWERED_MAX,
        authHandler: ['publickey'],
        hostVerifier: (key: Buffer) => {
          fingerprint = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
          strangeHostKey = target.hostFingerprint !== undefined && target.hostFingerprint !== fingerprint;
          return !strangeHostKey;
        },
      });
    } catch (cause) {
      // A key that cannot be parsed, or needs a passphrase.
      die(new SshError('auth', `the private key cannot be used: ${(cause as Error).message}`, { cause }));
    }
  });

  const channels = new ChannelSlots();

  const start = async (
    command: GuestCommand,
    timeoutMs: number,
    ...signals: (AbortSignal | undefined)[]
  ): Promise<SshProcess> => {
    const limit = new Limit(command.name, timeoutMs, [dead.signal, ...signals]);
    try {
      await channels.take(limit);
      const process = await openChannel(client, command, limit).catch((error) => {
        channels.give();
        throw error;
      });
      process.done.then(channels.give, channels.give).finally(limit.clear);
      return process;
    } catch (error) {
      limit.clear();
      throw error;
    }
  };

  const open = async (command: GuestCommand, options: OpenOptions): Promise<SshProcess> => {
    const process = await start(command, options.timeoutMs, options.signal);
    if (command.input) process.stdin.end(command.input);
    return process;
  };

  const exec = async (command: GuestCommand, options: ExecOptions): Promise<ExecResult> => {
    const overflow = new AbortController();
    const process = await start(command, options.timeoutMs, options.signal, overflow.signal);
    const maxOutputBytes = options.maxOutputBytes ?? OUTPUT_MAX_BYTES;
    const chunks: Buffer[] = [];
    let bytes = 0;
    process.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxOutputBytes) chunks.push(chunk);
      else overflow.abort(new SshError('overflow', `${command.name} printed more than ${maxOutputBytes} bytes`));
    });
    const input = options.stdin ?? command.input;
    if (input instanceof Readable) {
      // A source that breaks in the middle must not look like its end to the command.
      input.on('error', (cause) =>
        overflow.abort(new SshError('aborted', `the input of ${command.name} failed: ${cause.message}`, { cause })),
      );
      input.pipe(process.stdin);
      process.done.catch(() => {}).finally(() => input.destroy());
    } else process.stdin.end(input ?? undefined);
    const drained = new Promise((resolve) => process.stdout.on('close', resolve));
    const exited = await process.done;
    await drained;
    return { ...exited, stdout: Buffer.concat(chunks) };
  };

  return {
    hostFingerprint: fingerprint,
    signal: dead.signal,
    closed,
    open,
    exec,
    close,
    async [Symbol.asyncDispose]() {
      close();
    },
  };
}

/** Why this private key cannot be used, in a few words; null if it can. */
export function checkPrivateKey(text: string | Buffer): string | null {
  const parsed = ssh2.utils.parseKey(text);
  if (parsed instanceof Error) return parsed.message;
  return parsed.isPrivateKey() ? null : 'it is a public key; name the file without .pub';
}

/** A deadline and several signals as one signal whose reason is always an SshError. */
class Limit {
  #controller = new AbortController();
  signal = this.#controller.signal;
  clear: () => void;

  constructor(what: string, timeoutMs: number, sources: (AbortSignal | undefined)[]) {
    const stop = (reason: unknown) =>
      this.#controller.abort(
        reason instanceof SshError ? reason : new SshError('aborted', `${what} was given up`, { cause: reason }),
      );
    const onAbort = (event: Event) => stop((event.target as AbortSignal).reason);
    const late = () => stop(new SshError('timeout', `${what} did not end within ${timeoutMs / 1000} s`));
    const clearTimer = awakeTimer(timeoutMs, late);
    for (const source of sources) {
      source?.addEventListener('abort', onAbort, { once: true });
      if (source?.aborted) stop(source.reason);
    }
    this.clear = () => {
      clearTimer();
      for (const source of sources) source?.removeEventListener('abort', onAbort);
    };
  }
}

class ChannelSlots {
  #free = CHANNELS_MAX;
  #waiting: (() => void)[] = [];

  async take({ signal }: Limit): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal.reason);
      };
      this.#waiting.push(enter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  give = () => {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  };
}

function openChannel(client: ssh2.Client, command: GuestCommand, limit: Limit): Promise<SshProcess> {
  const { signal } = limit;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const refuse = (cause: Error) =>
      reject(new SshError('refused', `the guest refused to run ${command.name}: ${cause.message}`, { cause }));
    try {
      client.exec(command.text, (error, channel) => {
        signal.removeEventListener('abort', onAbort);
        if (error) refuse(error);
        else if (signal.aborted)
          channel
            .on('error', () => {})
            .resume()
            .close();
        // At once: the command may have ended, and ssh2 tells its exit status only to who listens by now.
        else resolve(follow(channel, command, limit));
      });
    } catch (cause) {
      refuse(cause as Error); // "Not connected", for a connection that has just ended
    }
  });
}

function follow(channel: ClientChannel, command: GuestCommand, { signal }: Limit): SshProcess {
  const stdout = new PassThrough();
  stdout.on('error', () => {}); // `done` tells
  channel.on('error', () => {}); // a command that ends without reading its input
  channel.pipe(stdout);

  let stderr = Buffer.alloc(0);
  channel.stderr.on('data', (chunk: Buffer) => {
    stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_KEPT_BYTES);
  });

  const done = new Promise<Exited>((resolve, reject) => {
    let status: { exitCode: number | null; exitSignal: string | null } | null = null;
    channel.on('exit', (exitCode: number | null, exitSignal?: string) => {
      status = { exitCode, exitSignal: exitSignal?.replace(/^SIG/, '') ?? null };
    });
    const onAbort = () => {
      channel.unpipe(stdout);
      stdout.destroy(signal.reason);
      try {
        channel.signal('TERM'); // what listens to nothing would hold one of the guest's ten sessions
        channel.close();
      } catch {} // the connection is gone
      channel.resume();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    channel.on('close', () => {
      signal.removeEventListener('abort', onAbort);
      if (status) return resolve({ ...status, stderr: stderr.toString('utf8') });
      const error = signal.aborted
        ? signal.reason
        : new SshError('closed', `${command.name} ended without an exit status`);
      stdout.destroy(error);
      reject(error);
    });
  });
  done.catch(() => {}); // a caller that only reads stdout learns it there
  return { stdin: channel, stdout, done };
}

function explain(error: Error & { level?: string; code?: string }, where: string, strangeHostKey: boolean): SshError {
  const cause = { cause: error };
  if (strangeHostKey)
    return new SshError(
      'auth',
      `${where} shows another host key than the pinned one; after a change of the base image: expo-worker doctor --pin-host-key`,
      cause,
    );
  if (error.level === 'client-authentication') return new SshError('auth', `${where} refuses the key`, cause);
  if (error.level === 'client-timeout') return new SshError('silent', `${where} no longer answers over SSH`, cause);
  if (error.code === 'ETIMEDOUT') return new SshError('timeout', `${where} did not answer`, cause);
  if (error.code === 'ECONNREFUSED') return new SshError('refused', `nothing listens at ${where}`, cause);
  if (['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL', 'EPERM', 'EACCES'].includes(error.code ?? ''))
    return new SshError('no_route', `no route to ${where} (${error.code})`, cause);
  return new SshError('closed', `the SSH connection to ${where} broke: ${error.message}`, cause);
}
