/**
 * Offers one SSH connection to a VM: run a command to its end, open one and talk to it, listen to one that
 * talks for as long as it runs, close. Only the guest/ssh* files use ssh2, and they run commands of
 * commands.ts alone.
 *
 * Invariant: nothing here waits without a limit. Connecting, every command, and a peer that falls silent each
 * end by a clock.
 */
import { Readable } from 'node:stream';
import ssh2 from 'ssh2';
import type { GuestCommand } from './commands.ts';
import { type Exited, SshChannels, type SshProcess } from './ssh-channel.ts';
import { SshError } from './ssh-error.ts';
import { type SshTarget, shakeHands } from './ssh-handshake.ts';
import { openShellOver, type SshShell, type WindowSize } from './ssh-shell.ts';
import { openStream, type SshStream, type StreamOptions } from './ssh-stream.ts';

export interface OpenOptions {
  /** From the call to the end of the command; the wait for a free channel counts, too. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export interface ExecOptions extends OpenOptions {
  /** Used instead of the command's own input. */
  stdin?: string | Buffer | Readable;
  /** More output is an `overflow`, because a truncated answer must not look like a whole one. */
  maxOutputBytes?: number;
}

export interface ExecResult extends Exited {
  stdout: Buffer;
}

export interface Ssh extends AsyncDisposable {
  readonly hostFingerprint: string;
  /** Aborts when the connection is dead; the reason is an SshError. */
  readonly signal: AbortSignal;
  /** Resolves when the connection is dead, with null if the agent closed it. */
  readonly closed: Promise<SshError | null>;
  exec(command: GuestCommand, options: ExecOptions): Promise<ExecResult>;
  open(command: GuestCommand, options: OpenOptions): Promise<SshProcess>;
  /** The caller closes it. Until then it keeps one of the connection's channels. */
  stream(command: GuestCommand, options: StreamOptions): Promise<SshStream>;
  /** Opens a shell for a person. Its only limit is the connection, which ends when the VM falls silent. */
  shell(command: GuestCommand, terminal: WindowSize | null): Promise<SshShell>;
  /** Destroys the connection at once. Work that is detached in the guest goes on. */
  close(): void;
}

const OUTPUT_MAX_BYTES = 1024 * 1024;

/** Rejects with SshError. */
export async function connectSsh(target: SshTarget): Promise<Ssh> {
  const { client, hostFingerprint, dead, closed, close } = await shakeHands(target);
  const channels = new SshChannels(client, target.scripts);
  return {
    hostFingerprint,
    signal: dead,
    closed,
    close,

    async open(command, { timeoutMs, signal }) {
      const process = await channels.start(command, timeoutMs, dead, signal);
      if (command.input) process.stdin.end(command.input);
      return process;
    },

    shell: (command, terminal) => openShellOver(client, dead, command, terminal),

    stream: (command, options) => openStream(channels, command, options, dead),

    async exec(command, { timeoutMs, signal, stdin, maxOutputBytes = OUTPUT_MAX_BYTES }) {
      const broken = new AbortController();
      const process = await channels.start(command, timeoutMs, dead, signal, broken.signal);
      const chunks: Buffer[] = [];
      let bytes = 0;
      process.stdout.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= maxOutputBytes) chunks.push(chunk);
        else broken.abort(new SshError('overflow', `${command.name} printed more than ${maxOutputBytes} bytes`));
      });
      sendInput(process, stdin ?? command.input, command.name, broken);
      const drained = new Promise((resolve) => process.stdout.on('close', resolve));
      const exited = await process.done;
      await drained;
      return { ...exited, stdout: Buffer.concat(chunks) };
    },

    async [Symbol.asyncDispose]() {
      close();
    },
  };
}

/** Aborts `broken` if a stream fails, because the command must not take that for the end of its input. */
function sendInput(
  { stdin, done }: SshProcess,
  input: string | Buffer | Readable | null,
  name: string,
  broken: AbortController,
): void {
  if (!(input instanceof Readable)) {
    stdin.end(input ?? undefined);
    return;
  }
  input.on('error', (cause) =>
    broken.abort(new SshError('aborted', `the input of ${name} failed: ${cause.message}`, { cause })),
  );
  input.pipe(stdin);
  done.catch(() => {}).finally(() => input.destroy());
}

/** Why this private key cannot be used, in a few words; null if it can. */
export function checkPrivateKey(text: string | Buffer): string | null {
  const parsed = ssh2.utils.parseKey(text);
  if (parsed instanceof Error) return parsed.message;
  return parsed.isPrivateKey() ? null : 'it is a public key; name the file without .pub';
}
