/**
 * Opens a shell over a connection, with a terminal of a person or with none.
 *
 * Invariant: the connection forwards no SSH agent and no port.
 */
import type { Readable, Writable } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';
import type { GuestCommand } from './commands.ts';
import { SshError } from './ssh-error.ts';

export interface WindowSize {
  columns: number;
  rows: number;
}

export interface SshShell {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  resize(size: WindowSize): void;
  /** Resolves with the exit code, or with null if a signal ended it. Rejects with SshError. */
  done: Promise<number | null>;
}

/** `terminal` is null if no person sits at one. Rejects with SshError. */
export function openShellOver(
  client: Client,
  dead: AbortSignal,
  command: GuestCommand,
  terminal: WindowSize | null,
): Promise<SshShell> {
  const pty = terminal && { term: 'dumb', cols: terminal.columns, rows: terminal.rows };
  return new Promise((resolve, reject) => {
    const onDead = () => reject(dead.reason);
    if (dead.aborted) return onDead();
    dead.addEventListener('abort', onDead, { once: true });
    client.exec(command.text(null), pty ? { pty } : {}, (cause, channel) => {
      dead.removeEventListener('abort', onDead);
      if (cause) reject(new SshError('refused', `no shell was opened: ${cause.message}`, { cause }));
      // At once: the shell may have ended, and ssh2 tells its exit status only to present listeners.
      else resolve(follow(channel, dead));
    });
  });
}

function follow(channel: ClientChannel, dead: AbortSignal): SshShell {
  channel.on('error', () => {}); // a write after its end
  const done = new Promise<number | null>((resolve, reject) => {
    let status: number | null | undefined;
    channel.on('exit', (code: number | null) => {
      status = code;
    });
    const onClose = () => {
      if (status !== undefined) resolve(status);
      else reject(dead.aborted ? dead.reason : new SshError('closed', 'the shell ended without an exit status'));
    };
    channel.on('close', onClose);
    dead.addEventListener('abort', onClose, { once: true });
  });
  done.catch(() => {}); // the caller awaits it, perhaps later
  return {
    stdin: channel,
    stdout: channel,
    stderr: channel.stderr,
    resize: ({ columns, rows }) => void channel.setWindow(rows, columns, 0, 0),
    done,
  };
}
