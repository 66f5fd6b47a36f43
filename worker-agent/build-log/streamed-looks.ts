/**
 * Looks at a build over one channel, on which a command in the VM tells of the build and its log as long as
 * it is read. A channel that breaks, ends or falls silent is replaced, and the log goes on where the spool
 * stands. If new channels bring no more of the log either, the agent asks for the log piece by piece.
 *
 * Invariant: each look has the patience of the session, as a command of its own would have. A channel is
 * opened only after a break, however long a build takes. The patience with channels that end or fall
 * silent begins anew only after progress: bytes of the log, or a status that leaves nothing to read.
 */
import { pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { failed } from '../ending.ts';
import { parseBuildStatus } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { followBuild } from '../guest/commands.ts';
import { type Frame, FrameError, framesOf, LOOK_MS } from '../guest/log-frames.ts';
import { expectAnswer, type Guest, howEnded } from '../guest/session.ts';
import type { Ssh } from '../guest/ssh.ts';
import { SshError } from '../guest/ssh-error.ts';
import type { SshStream } from '../guest/ssh-stream.ts';
import { type Look, type Looks, logBytesOf, STEP } from './look.ts';
import { PolledLooks } from './polled-looks.ts';
import type { LogSpool } from './spool.ts';

/** A status comes as often as this while the log is quiet, or more often for short time-outs of a build. */
const STATUS_MS = 1_000;
/** A build may end the commands of the agent in its VM. A guest that goes down ends them, too. */
const NO_PROGRESS_MS = 5_000;
const REOPEN_PAUSE_MS = 500;

export interface StreamedLooksOptions {
  guest: Guest;
  key: AttemptKey;
  /** Says at which byte the log goes on when a channel is opened. */
  spool: Pick<LogSpool, 'readBytes' | 'finished'>;
  /** The age of the log counts as known for this long, so looks come several times within it. */
  freshMs: number;
  /** A channel that has said nothing for this long is replaced. */
  silenceMs: number;
  /** How long channels may bring no progress. Left out: 5 s. */
  patienceMs?: number | undefined;
  /** Is told once, in words for people, when the agent asks for the log piece by piece from now on. */
  onPolling: (message: string) => void;
  signal: AbortSignal;
}

interface Channel {
  ssh: Ssh;
  stream: SshStream;
  frames: AsyncGenerator<Frame, undefined>;
}

/** Why a channel brings nothing more. `foreign` if something else than the script has printed. */
interface Break {
  end: string;
  foreign: boolean;
}

export class StreamedLooks implements Looks {
  readonly #options: StreamedLooksOptions;
  #channel: Channel | null = null;
  /** When the first channel ended or fell silent since there was progress. */
  #endedSinceMs: number | null = null;
  #polled: PolledLooks | null = null;

  constructor(options: StreamedLooksOptions) {
    this.#options = options;
  }

  async next(): Promise<Look> {
    const { guest, signal } = this.#options;
    while (!this.#polled) {
      const heard = await expectAnswer(
        STEP,
        guest.attempt((ssh, ended) => this.#hear(ssh, ended)),
      );
      if ('kind' in heard) return this.#lookOf(heard);
      if (!this.#hasEndedForLong()) await pause(REOPEN_PAUSE_MS, signal);
      else this.#poll(heard);
    }
    return await this.#polled.next();
  }

  close(): void {
    this.#channel?.stream.close();
    this.#channel = null;
  }

  #lookOf({ kind, bytes }: Frame): Look {
    const { spool } = this.#options;
    const look = kind === 'log' ? { bytes } : { status: parseBuildStatus(bytes.toString('latin1')) };
    if ('bytes' in look || spool.finished || logBytesOf(look.status) <= spool.readBytes) this.#endedSinceMs = null;
    return look;
  }

  /** Counts from the first call since there was progress. */
  #hasEndedForLong(): boolean {
    this.#endedSinceMs ??= awakeMs();
    return awakeMs() - this.#endedSinceMs >= (this.#options.patienceMs ?? NO_PROGRESS_MS);
  }

  /**
   * Other commands may still read the log. But a program that prints its own text here would print it there
   * too, and a status that cannot be read would look as if the build was lost.
   */
  #poll({ end, foreign }: Break): void {
    if (foreign) throw failed('transfer_failed', STEP, `the VM does not tell of the build any more: ${end}`);
    this.#polled = new PolledLooks(this.#options);
    this.#options.onPolling(
      `the VM does not send the log of the build by itself any more (${end}); the agent asks for it piece by piece from now on`,
    );
  }

  /**
   * The next frame, or why the command has ended. Throws any other error, because the session must decide
   * about it.
   */
  async #hear(ssh: Ssh, signal: AbortSignal): Promise<Frame | Break> {
    try {
      if (this.#channel?.ssh !== ssh) this.close();
      this.#channel ??= await this.#open(ssh, signal);
      const { stream, frames } = this.#channel;
      const { value } = await frames.next();
      if (value) return value;
      const end = howEnded(await stream.exited());
      this.close();
      return { end, foreign: false };
    } catch (error) {
      this.close();
      if (error instanceof FrameError) return { end: error.message, foreign: true };
      const silent = error instanceof SshError && error.kind === 'timeout';
      if (silent && this.#hasEndedForLong()) return { end: error.message, foreign: false };
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
