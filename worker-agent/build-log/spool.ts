/**
 * Keeps the log of an attempt on this Mac as it will leave it: masked, and of bounded size.
 *
 *   build.log        the first 48 MiB as they come; at the end also a line that says what is missing, and the
 *                    last 16 MiB
 *   build.log.tail   the bytes after the first 48 MiB, in a ring that always holds the last 16
 *   build.log.json   two offsets: how much of the VM's log has been dealt with, and how long the result is
 *
 * Invariant: bytes are synced to the disk before the pair counts them, and counted before anybody is told of
 * them. After a crash, the bytes that the pair does not count are made again from the same bytes of the VM's
 * log, with the same result. So shipped bytes never change.
 *
 * Owns the three files.
 */
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { LogMask } from './mask.ts';

const MIB = 1024 * 1024;
export const LOG_LIVE_BYTES = 48 * MIB;
export const LOG_TAIL_BYTES = 16 * MIB;
/** More than one `append` holds, so that bytes half overwritten at a crash are older than the tail. */
const RING_SLACK_BYTES = 8 * MIB;
const COPY_BYTES = MIB;

const Pair = z.object({ rawBytes: z.number().int(), maskedBytes: z.number().int(), finished: z.boolean() });
type Pair = z.infer<typeof Pair>;

export interface LogSpoolOptions {
  path: string;
  /** Texts that must not leave this Mac; see needlesOf. */
  needles: readonly Buffer[];
  liveBytes?: number;
  tailBytes?: number;
}

type FullOptions = LogSpoolOptions & { liveBytes: number; tailBytes: number };

export class LogSpool implements AsyncDisposable {
  readonly #options: FullOptions;
  readonly #file: FileHandle;
  readonly #ring: FileHandle;
  readonly #mask: LogMask;
  #maskedBytes: number;
  #finished: boolean;
  #lengthBytes: number;

  /** Completes the spool of a former run, for a VM that will not be read again. Safe without a spool. */
  static async finishLeft(path: string): Promise<void> {
    if ((await stat(pairPath(path)).catch(() => null)) === null) return;
    await using left = await LogSpool.open({ path, needles: [] });
    await left.finish();
  }

  static async open(options: LogSpoolOptions): Promise<LogSpool> {
    const file = await open(options.path, 'a+', 0o600);
    const ring = await open(`${options.path}.tail`, 'a+', 0o600).then(async (made) => {
      await made.close();
      return open(`${options.path}.tail`, 'r+');
    });
    const pair = await readPair(options.path);
    const full = { liveBytes: LOG_LIVE_BYTES, tailBytes: LOG_TAIL_BYTES, ...options };
    if (!pair.finished) await file.truncate(Math.min(pair.maskedBytes, full.liveBytes));
    return new LogSpool(full, { file, ring }, pair, (await file.stat()).size);
  }

  constructor(
    options: FullOptions,
    { file, ring }: { file: FileHandle; ring: FileHandle },
    pair: Pair,
    lengthBytes: number,
  ) {
    this.#options = options;
    this.#file = file;
    this.#ring = ring;
    this.#mask = new LogMask(options.needles, pair.rawBytes);
    this.#maskedBytes = pair.maskedBytes;
    this.#finished = pair.finished;
    this.#lengthBytes = lengthBytes;
  }

  /** How many bytes of the file may be shipped. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }
  /** The offset in the VM's log at which the next `append` belongs. */
  get readBytes(): number {
    return this.#mask.readBytes;
  }
  /** Nothing more is added. */
  get finished(): boolean {
    return this.#finished;
  }

  async append(raw: Buffer): Promise<void> {
    if (!this.#finished) await this.#store(this.#mask.push(raw));
  }

  /** The log has ended, or nothing more of it can be read. Safe to repeat. */
  async finish(): Promise<void> {
    if (this.#finished) return;
    // The pair counts the end only once all of it is on disk. The bytes that were held back may be half of a
    // secret, and after a crash the other half is read.
    await this.#keep(this.#mask.end());
    const { liveBytes, tailBytes } = this.#options;
    const afterBytes = this.#maskedBytes - liveBytes;
    if (afterBytes > 0) {
      const keptBytes = Math.min(tailBytes, afterBytes);
      if (afterBytes > keptBytes) await this.#file.appendFile(missingNote(afterBytes - keptBytes, liveBytes));
      await this.#copyTail(keptBytes);
      await this.#file.datasync();
    }
    this.#finished = true;
    await this.#writePair();
    this.#lengthBytes = (await this.#file.stat()).size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#file.close(), this.#ring.close()]);
  }

  async #store(bytes: Buffer): Promise<void> {
    await this.#keep(bytes);
    await this.#writePair();
    this.#lengthBytes = Math.min(this.#maskedBytes, this.#options.liveBytes);
  }

  async #keep(bytes: Buffer): Promise<void> {
    const { liveBytes } = this.#options;
    const live = bytes.subarray(0, Math.max(0, liveBytes - this.#maskedBytes));
    const after = bytes.subarray(live.length);
    if (live.length > 0) {
      await this.#file.appendFile(live);
      await this.#file.datasync();
    }
    if (after.length > 0) await this.#writeRing(after, this.#maskedBytes + live.length - liveBytes);
    this.#maskedBytes += bytes.length;
  }

  get #ringBytes(): number {
    return this.#options.tailBytes + RING_SLACK_BYTES;
  }

  /** `at` counts from the end of the first part. */
  async #writeRing(bytes: Buffer, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const position = (at + done) % this.#ringBytes;
      const size = Math.min(bytes.length - done, this.#ringBytes - position);
      await this.#ring.write(bytes, done, size, position);
      done += size;
    }
    await this.#ring.datasync();
  }

  async #copyTail(keptBytes: number): Promise<void> {
    const end = this.#maskedBytes - this.#options.liveBytes;
    const buffer = Buffer.alloc(COPY_BYTES);
    for (let at = end - keptBytes; at < end; ) {
      const position = at % this.#ringBytes;
      const size = Math.min(COPY_BYTES, end - at, this.#ringBytes - position);
      const { bytesRead } = await this.#ring.read(buffer, 0, size, position);
      if (bytesRead === 0) throw new Error(`${this.#options.path}.tail is shorter than what was written to it`);
      await this.#file.appendFile(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  }

  async #writePair(): Promise<void> {
    const pair: Pair = { rawBytes: this.#mask.takenBytes, maskedBytes: this.#maskedBytes, finished: this.#finished };
    await writeFileAtomic(pairPath(this.#options.path), JSON.stringify(pair), { mode: 0o600, fsync: true });
  }
}

const pairPath = (path: string) => `${path}.json`;

async function readPair(path: string): Promise<Pair> {
  const text = await readFile(pairPath(path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  return text === null ? { rawBytes: 0, maskedBytes: 0, finished: false } : Pair.parse(JSON.parse(text));
}

export const missingNote = (missingBytes: number, liveBytes: number): string =>
  `\n[tartbeat] ${missingBytes} bytes of the log are missing here, because only the first ${liveBytes / MIB} MiB and the end of a long log are kept.\n`;
