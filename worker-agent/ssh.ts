/**
 * The only module that uses ssh2. One connection per VM, and commands from guest-commands.ts alone.
 *
 * Invariant: nothing here waits without a bound. Connecting, every command, and a peer that has gone silent each end by a clock, and
 * the socket is ours, so that it can be destroyed: a connection that ssh2 has ended stays open for as long as a frozen guest does.
 */
import type { Readable, Writable } from 'node:stream';
import type { GuestCommand } from './guest-commands.ts';

/**
 * refused  nothing listens, or no route        timeout  no answer in time: to connect, or the command's own deadline
 * auth     the key or the host key is refused   silent   connected, then no SSH banner, or keepalives unanswered: a frozen guest
 * closed   the connection ended                 aborted  our own signal
 * overflow the command printed more than allowed
 */
export type SshErrorKind = 'refused' | 'timeout' | 'auth' | 'silent' | 'closed' | 'aborted' | 'overflow';

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
  hostFingerprint?: string;
  connectTimeoutMs: number;
  signal?: AbortSignal;
}

export interface ExecOptions {
  timeoutMs: number;
  signal?: AbortSignal;
  /** Overrides the command's own input. */
  stdin?: string | Buffer | Readable;
  /** Default 1 MiB; more is an `overflow`, since a truncated answer must not be mistaken for a whole one. */
  maxOutputBytes?: number;
}

export interface Exited {
  /** Null if a signal ended it. */
  exitCode: number | null;
  exitSignal: string | null;
}

export interface ExecResult extends Exited {
  stdout: Buffer;
  /** At most the last 64 KiB. */
  stderr: string;
}

export interface SshProcess {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Rejects with SshError if the connection, the deadline or the signal ended it first. Both outputs must be read. */
  done: Promise<Exited>;
}

export interface Ssh extends AsyncDisposable {
  readonly hostFingerprint: string;
  /** Aborts when the connection is dead; the reason is an SshError. */
  readonly signal: AbortSignal;
  /** Settles when the connection is dead: null if we closed it. Never rejects. */
  readonly closed: Promise<SshError | null>;
  exec(command: GuestCommand, options: ExecOptions): Promise<ExecResult>;
  open(command: GuestCommand, options: Omit<ExecOptions, 'maxOutputBytes' | 'stdin'>): Promise<SshProcess>;
  /** Destroys the connection at once. Detached work in the guest goes on. */
  close(): void;
}

/** Rejects with SshError. */
export async function connectSsh(_target: SshTarget): Promise<Ssh> {
  throw new Error('not yet');
}
