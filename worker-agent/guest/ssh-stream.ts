/**
 * Listens to one command that talks for as long as it runs.
 *
 * Invariant: every wait ends after silenceMs: for the channel, for the next bytes, and for the exit status
 * after them. The time counts only while somebody waits, because a slow reader says nothing of the command.
 * Bytes that nobody has asked for stay in the guest, except for SSH's own buffers of some MB.
 */
import { awakeTimer } from '../../client/running-clock.ts';
import type { GuestCommand } from './commands.ts';
import type { Exited, SshChannels } from './ssh-channel.ts';
import { SshError } from './ssh-error.ts';

export interface StreamOptions {
  silenceMs: number;
  signal?: AbortSignal | undefined;
}

export interface SshStream {
  /** Null when the command has ended. Rejects with SshError; kind `timeout` means that it was silent. */
  read(): Promise<Buffer | null>;
  /** Call it after the last bytes. Rejects with SshError if the command did not end by itself. */
  exited(): Promise<Exited>;
  close(): void;
}

export async function openStream(
  channels: SshChannels,
  command: GuestCommand,
  { silenceMs, signal }: StreamOptions,
  dead: AbortSignal,
): Promise<SshStream> {
  const closed = new AbortController();
  const inTime = async <T>(wait: Promise<T>): Promise<T> => {
    const silent = () =>
      closed.abort(new SshError('timeout', `${command.name} has said nothing for ${silenceMs / 1000} s`));
    const clear = awakeTimer(silenceMs, silent);
    return await wait.finally(clear);
  };
  const process = await inTime(channels.start(command, null, dead, signal, closed.signal));
  process.stdin.end(command.input ?? undefined);
  const pieces = process.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>;
  return {
    exited: () => inTime(process.done),
    async read() {
      const { value } = await inTime(pieces.next());
      return value ?? null;
    },
    close: () => closed.abort(new SshError('aborted', `the agent stopped listening to ${command.name}`)),
  };
}
