/**
 * Looks at a build over one channel, on which a command in the VM tells of the build and its log as long as
 * it is read. A channel that breaks, ends or falls silent is replaced, and the log goes on where the spool
 * stands.
 *
 * Invariant: each look has the patience of the session, as a command of its own would have. Channels are
 * opened for breaks alone, however long a build takes.
 */
import { pause } from '../../client/retry.ts';
import { failed } from '../ending.ts';
import { parseBuildStatus } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { followBuild } from '../guest/commands.ts';
import { type Frame, FrameError, framesOf, LOOK_MS } from '../guest/log-frames.ts';
import { expectAnswer, type Guest, howEnded } from '../guest/session.ts';
import type { Ssh } from '../guest/ssh.ts';
import type { SshStream } from '../guest/ssh-stream.ts';
import { awakeMs } from '../mac/running-clock.ts';
import { type Look, type Looks, STEP } from './look.ts';
import type { LogSpool } from './spool.ts';

/** A status comes as often as this while the log is quiet, or more often for short time-outs of a build. */
const STATUS_MS = 1_000;
/** A build may end what the agent runs in its VM. A guest that goes down does so, too. */
const ENDED_MS = 5_000;
const REOPEN_PAUSE_MS = 500;

export interface StreamedLooksOptions {
  guest: Guest;
  key: AttemptKey;
  /** Says from where on the log is told, whenever a channel is opened. */
  spool: Pick<LogSpool, 'readBytes'>;
  /** The age of the log counts as known for so long, so looks come several times in this time. */
  freshMs: number;
  /** A channel that has said nothing for so long is replaced. */
  silenceMs: number;
  signal: AbortSignal;
}

interface Channel {
  ssh: Ssh;
  stream: SshStream;
  frames: AsyncGenerator<Frame, undefined>;
}

export class StreamedLooks implements Looks {
  readonly #options: StreamedLooksOptions;
  #channel: Channel | null = null;

  constructor(options: StreamedLooksOptions) {
    this.#options = options;
  }

  async next(): Promise<Look> {
    const { guest, signal } = this.#options;
    for (let endedSinceMs: number | null = null; ; ) {
      const heard = await expectAnswer(
        STEP,
        guest.attempt((ssh, ended) => this.#hear(ssh, ended)),
      );
      if ('kind' in heard)
        return heard.kind === 'log'
          ? { bytes: heard.bytes }
          : { status: parseBuildStatus(heard.bytes.toString('latin1')) };
      endedSinceMs ??= awakeMs();
      if (awakeMs() - endedSinceMs >= ENDED_MS)
        throw failed('transfer_failed', STEP, `the VM does not tell of the build any more: ${heard.end}`);
      await pause(REOPEN_PAUSE_MS, signal);
    }
  }

  close(): void {
    this.#channel?.stream.close();
    this.#channel = null;
  }

  /**
   * The next frame, or why the command has ended. Whatever else is in the way is thrown, as the session
   * needs.
   */
  async #hear(ssh: Ssh, signal: AbortSignal): Promise<Frame | { end: string }> {
    try {
      if (this.#channel?.ssh !== ssh) this.close();
      this.#channel ??= await this.#open(ssh, signal);
      const { stream, frames } = this.#channel;
      const { value } = await frames.next();
      if (value) return value;
      const end = howEnded(await stream.exited());
      this.close();
      return { end };
    } catch (error) {
      this.close();
      if (error instanceof FrameError) return { end: error.message };
      throw error;
    }
  }

  async #open(ssh: Ssh, signal: AbortSignal): Promise<Channel> {
    const { key, spool, freshMs, silenceMs } = this.#options;
    const looks = Math.max(1, Math.floor(Math.min(STATUS_MS, freshMs / 3) / LOOK_MS));
    const command = followBuild({ ...key, offset: spool.readBytes, looks });
    const stream = await ssh.stream(command, { silenceMs, signal });
    return { ssh, stream, frames: framesOf(() => stream.read()) };
  }
}
