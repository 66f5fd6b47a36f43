/**
 * Runs one command over a connection: waits for a free channel, limits the time, gives streams and status.
 *
 * Invariant: a command ends by itself or at its limit, and gives its channel back. No more than CHANNELS_MAX
 * run at once on one connection.
 */
import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';
import { awakeTimer } from '../../client/running-clock.ts';
import type { GuestCommand } from './commands.ts';
import type { VmScripts } from './scripts.ts';
import { SshError } from './ssh-error.ts';

export interface Exited {
  /** Null if a signal ended it. */
  exitCode: number | null;
  exitSignal: string | null;
  /** Its last 64 KiB. */
  stderr: string;
}

export interface SshProcess {
  /** The caller ends it, unless the command has input of its own. */
  stdin: Writable;
  /** Must be read. Is destroyed with the SshError if the command does not end by itself. */
  stdout: Readable;
  /** Rejects with SshError if the connection, the deadline or the signal ended it first. */
  done: Promise<Exited>;
}

/**
 * sshd refuses the eleventh session of a connection, and for a moment it still counts sessions that have
 * ended. All commands may end at once, so half of the ten are left for sessions that are closing. With eight
 * on a busy machine, one command in 25 was refused.
 */
const CHANNELS_MAX = 5;
const STDERR_KEPT_BYTES = 64 * 1024;

/** The channels of one connection. */
export class SshChannels {
  readonly #client: Client;
  readonly #scripts: Pick<VmScripts, 'version'> | undefined;
  readonly #slots = new ChannelSlots();

  constructor(client: Client, scripts: Pick<VmScripts, 'version'> | undefined) {
    this.#client = client;
    this.#scripts = scripts;
  }

  /**
   * The wait for a free channel counts against timeoutMs. If that is null, one of the signals must set the
   * limit. Rejects with SshError.
   */
  async start(
    command: GuestCommand,
    timeoutMs: number | null,
    ...signals: (AbortSignal | undefined)[]
  ): Promise<SshProcess> {
    const slots = this.#slots;
    const text = command.text(this.#scripts?.version ?? null);
    const limit = new Limit(command.name, timeoutMs, signals);
    try {
      await slots.take(limit);
      const process = await openChannel(this.#client, text, command, limit).catch((error) => {
        slots.give();
        throw error;
      });
      process.done.then(slots.give, slots.give).finally(limit.clear);
      return process;
    } catch (error) {
      limit.clear();
      throw error;
    }
  }
}

/** Joins a deadline and several signals into one signal, whose reason is always an SshError. */
class Limit {
  #controller = new AbortController();
  signal = this.#controller.signal;
  clear: () => void;

  constructor(what: string, timeoutMs: number | null, sources: (AbortSignal | undefined)[]) {
    const stop = (reason: unknown) =>
      this.#controller.abort(
        reason instanceof SshError
          ? reason
          : new SshError('aborted', `the agent stopped waiting for ${what}`, { cause: reason }),
      );
    const onAbort = (event: Event) => stop((event.target as AbortSignal).reason);
    const late = (ms: number) => stop(new SshError('timeout', `${what} did not end within ${ms / 1000} s`));
    const clearTimer = timeoutMs === null ? () => {} : awakeTimer(timeoutMs, () => late(timeoutMs));
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

function openChannel(client: Client, text: string, command: GuestCommand, limit: Limit): Promise<SshProcess> {
  const { signal } = limit;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) return onAbort(); // between its turn and now
    signal.addEventListener('abort', onAbort, { once: true });
    const refuse = (cause: Error) =>
      reject(new SshError('refused', `the guest refused to run ${command.name}: ${cause.message}`, { cause }));
    try {
      client.exec(text, (error, channel) => {
        signal.removeEventListener('abort', onAbort);
        if (error) refuse(error);
        else if (signal.aborted)
          channel
            .on('error', () => {})
            .resume()
            .close();
        // At once: the command may have ended, and ssh2 tells its exit status only to present listeners.
        else resolve(follow(channel, command, limit));
      });
    } catch (cause) {
      refuse(cause as Error); // "Not connected", for a connection that has just ended
    }
  });
}

function follow(channel: ClientChannel, command: GuestCommand, { signal }: Limit): SshProcess {
  const stdout = new PassThrough();
  stdout.on('error', () => {}); // `done` rejects with it
  channel.on('error', () => {}); // a command may end without reading its input
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
        channel.signal('TERM'); // otherwise the process would keep one of the guest's ten sessions
        channel.close();
      } catch {} // the connection has ended
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
  done.catch(() => {}); // a caller that only reads stdout gets the error there
  return { stdin: channel, stdout, done };
}
