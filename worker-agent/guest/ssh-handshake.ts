/**
 * Connects to a guest, from the socket until SSH accepts commands: the deadline, the abort, the host key.
 *
 * Invariant: connecting ends within connectTimeoutMs, and a dead connection's socket is destroyed. The socket
 * is our own, because a connection that ssh2 ends stays open as long as the guest is frozen.
 */
import { createHash } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import ssh2 from 'ssh2';
import { awakeTimer } from '../../client/running-clock.ts';
import type { VmScripts } from './scripts.ts';
import { SshError, sshErrorOf } from './ssh-error.ts';

export interface SshTarget {
  host: string;
  port: number;
  user: string;
  /** The key's text, in OpenSSH format. */
  privateKey: string | Buffer;
  /** SHA-256 of the host key in base64, as `ssh-keygen -l` prints it. Another host key is refused. */
  hostFingerprint?: string | undefined;
  connectTimeoutMs: number;
  /**
   * The guest scripts that commands run with. Without them, only those commands can be run that need none.
   */
  scripts?: Pick<VmScripts, 'version'> | undefined;
  signal?: AbortSignal | undefined;
  /** A frozen peer is noticed after at most three times this. */
  keepaliveIntervalMs?: number;
}

export interface SshConnection {
  readonly client: ssh2.Client;
  readonly hostFingerprint: string;
  /** Aborts when the connection is dead; the reason is an SshError. */
  readonly dead: AbortSignal;
  /** Resolves when the connection is dead, with null if the agent closed it. */
  readonly closed: Promise<SshError | null>;
  close(): void;
}

const KEEPALIVE_INTERVAL_MS = 5_000;
const KEEPALIVES_UNANSWERED_MAX = 2;

/** Rejects with SshError. */
export async function shakeHands(target: SshTarget): Promise<SshConnection> {
  const { host, port, signal } = target;
  const where = `${host}:${port}`;
  if (signal?.aborted) throw givenUp(where);

  // noDelay: without it each command waits some 90 ms, because the kernel holds back its second packet.
  const socket = connectTcp({ host, port, noDelay: true });
  const client = new ssh2.Client();
  const life = lifeOf(socket);
  const hostKey = expectHostKey(target.hostFingerprint);
  const ready = whenReady(target, where, { socket, client, life });

  // Never `once`: ssh2 may report a second error after the first, and an error without a listener ends the
  // process.
  const onError = (error: Error & { level?: string; code?: string }) =>
    life.end(sshErrorOf(error, where, hostKey.isStrange));
  client.on('error', onError);
  socket.on('error', onError);
  client.on('close', () => life.end(new SshError('closed', `the SSH connection to ${where} ended`)));
  socket.on('close', () => life.end(new SshError('closed', `${where} ended the connection`)));

  try {
    client.connect({
      sock: socket,
      username: target.user,
      privateKey: target.privateKey,
      readyTimeout: 0, // whenReady has the deadline
      keepaliveInterval: target.keepaliveIntervalMs ?? KEEPALIVE_INTERVAL_MS,
      keepaliveCountMax: KEEPALIVES_UNANSWERED_MAX,
      authHandler: ['publickey'],
      hostVerifier: hostKey.verify,
    });
  } catch (cause) {
    // The key cannot be parsed, or needs a passphrase.
    life.end(new SshError('auth', `the private key cannot be used: ${(cause as Error).message}`, { cause }));
  }
  await ready;
  const close = () => life.end(new SshError('closed', `the SSH connection to ${where} was closed by the agent`), null);
  return { client, hostFingerprint: hostKey.fingerprint, dead: life.dead, closed: life.closed, close };
}

const givenUp = (where: string) => new SshError('aborted', `the agent stopped connecting to ${where}`);

interface Life {
  dead: AbortSignal;
  closed: Promise<SshError | null>;
  /** Destroys the socket. Only the first call counts; `reported` is what `closed` resolves with. */
  end(error: SshError, reported?: SshError | null): void;
}

function lifeOf(socket: Socket): Life {
  const dead = new AbortController();
  const { promise: closed, resolve: settleClosed } = Promise.withResolvers<SshError | null>();
  return {
    dead: dead.signal,
    closed,
    end(error, reported = error) {
      if (dead.signal.aborted) return;
      dead.abort(error);
      settleClosed(reported);
      socket.destroy();
    },
  };
}

function expectHostKey(expected: string | undefined) {
  const hostKey = {
    fingerprint: '',
    isStrange: false,
    verify(key: Buffer) {
      hostKey.fingerprint = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
      hostKey.isStrange = expected !== undefined && expected !== hostKey.fingerprint;
      return !hostKey.isStrange;
    },
  };
  return hostKey;
}

/** Resolves once commands may be run. Rejects with the SshError for which the connection died before. */
function whenReady(
  { connectTimeoutMs, signal }: SshTarget,
  where: string,
  { socket, client, life }: { socket: Socket; client: ssh2.Client; life: Life },
): Promise<void> {
  const late = () => {
    const silent = socket.readyState === 'open';
    const seconds = connectTimeoutMs / 1000;
    life.end(
      silent
        ? new SshError('silent', `${where} accepts connections, but SSH did not answer within ${seconds} s`)
        : new SshError('timeout', `${where} did not answer within ${seconds} s`),
    );
  };
  return new Promise<void>((resolve, reject) => {
    const clearTimer = awakeTimer(connectTimeoutMs, late);
    const onAbort = () => life.end(givenUp(where));
    signal?.addEventListener('abort', onAbort, { once: true });
    const settle = () => {
      clearTimer();
      signal?.removeEventListener('abort', onAbort);
      life.dead.removeEventListener('abort', onDead);
    };
    const onDead = () => {
      settle();
      reject(life.dead.reason);
    };
    life.dead.addEventListener('abort', onDead, { once: true });
    client.on('ready', () => {
      settle();
      resolve();
    });
  });
}
