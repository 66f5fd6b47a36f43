/**
 * Writes files of a project as one compressed tar.
 *
 * Invariant: the same files give the same bytes. Their times, owners and order on the disk do not matter.
 * That holds for one release of Node on one kind of machine. Each file in the archive has the content of one
 * moment.
 *
 * The time of a file in the archive is computed from its content. With one time for all files, Metro would
 * not notice a changed file. Zip tools refuse times before 1980.
 *
 * Files are read with synchronous calls: for thousands of small files, the way through the thread pool takes
 * longer than the reading. Meanwhile the compression runs in the pool.
 */
import { createHash, hash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, createWriteStream, fstatSync, readSync, type Stats } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createGzip, type Gzip, type ZlibOptions } from 'node:zlib';
import { Header, Pax } from 'tar';
import { UPLOAD_MAX_BYTES } from '#contract';
import type { LocalFile } from '../blob-requests.ts';
import { openPlainFile } from '../safe-files.ts';
import type { SourceFile } from './list-source.ts';
import { OR_LEAVE_IT_OUT, SourceError } from './source-error.ts';

/** For sources, level 6 saves half a percent more and takes a tenth longer. */
const LEVEL = 5;
/** The size of the pieces that the compression gets. */
const CHUNK_BYTES = 1024 * 1024;
/** How many chunks may wait for the compression. */
const CHUNKS_WAITING = 4;
/** Larger files are read twice: for their hash, then for the archive. */
const WHOLE_MAX_BYTES = 1024 * 1024;
/** How often a file is read if it keeps changing. */
const READS_MAX = 5;
const BLOCK_BYTES = 512;
/** Both lie some days inside the years 1980 to 2025, so that no time zone leads out of them. */
const FIRST_TIME_S = Date.UTC(1980, 0, 3) / 1000;
const LAST_TIME_S = Date.UTC(2025, 11, 29) / 1000;

interface ArchiveOptions {
  signal: AbortSignal;
  onProgress?: (packedFiles: number) => void;
}

/**
 * Writes the files below `root` to `archivePath`. Throws SourceError if a file changes meanwhile or cannot be
 * read, or if the controller would refuse the archive. Then it leaves no archive.
 */
export async function writeArchive(
  root: string,
  files: readonly SourceFile[],
  archivePath: string,
  { signal, onProgress }: ArchiveOptions,
): Promise<LocalFile> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const options: ZlibOptions & { writableHighWaterMark: number } = {
    level: LEVEL,
    // The answer to a chunk fits into one piece, so the compression does not wait for this thread in between.
    chunkSize: CHUNK_BYTES + BLOCK_BYTES,
    writableHighWaterMark: CHUNKS_WAITING * CHUNK_BYTES,
  };
  const gzip = createGzip(options);
  const sha256 = createHash('sha256');
  let sizeBytes = 0;
  const count = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      sha256.update(chunk);
      sizeBytes += chunk.length;
      yield chunk;
    }
  };
  const written = pipeline(gzip, count, createWriteStream(archivePath, { mode: 0o600 }), { signal: either });
  const failed = written.then(() => new Promise<never>(() => {}));
  try {
    await Promise.race([packAll(root, files, new Tar(gzip, either), onProgress), failed]);
    await written;
    if (sizeBytes > UPLOAD_MAX_BYTES)
      throw new SourceError(
        `The archive of ${root} has ${sizeBytes} bytes, but the controller accepts at most ${UPLOAD_MAX_BYTES}. Name what the build does not need in .easignore and give \`--easignore-adds\`, with which the rules of git still hold.`,
      );
  } catch (error) {
    stop.abort();
    await written.catch(() => {});
    await rm(archivePath, { force: true });
    signal.throwIfAborted();
    throw error;
  }
  return { path: archivePath, sizeBytes, sha256: sha256.digest('hex') };
}

async function packAll(
  root: string,
  files: readonly SourceFile[],
  tar: Tar,
  onProgress?: (packedFiles: number) => void,
): Promise<void> {
  const space = Buffer.allocUnsafe(WHOLE_MAX_BYTES + 1);
  for (const [index, file] of files.entries()) {
    if (file.kind === 'link') await tar.link(file);
    else await packFile(root, file, tar, space);
    onProgress?.(index + 1);
  }
  // An agent refuses an archive without entries.
  if (files.length === 0) await tar.root();
  await tar.end();
}

async function packFile(root: string, file: SourceFile, tar: Tar, space: Buffer): Promise<void> {
  const path = file.liesAt ?? join(root, file.path);
  const fd = opened(path, file);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw changed(file);
    if (stats.size > WHOLE_MAX_BYTES) return await packLargeFile(fd, stats, file, tar);
    const content = wholeFile(fd, stats, space) ?? again(path, file, space);
    if (content === null) throw changed(file);
    await tar.file(file, content.length, timeOf(hash('sha256', content, 'buffer')));
    await tar.put(content);
    await tar.pad(content.length);
  } finally {
    closeSync(fd);
  }
}

/** Null if the file changed while it was read, or is larger than its stats say. */
function wholeFile(fd: number, before: Stats, space: Buffer): Buffer | null {
  let length = 0;
  while (length < space.length) {
    const count = readSync(fd, space, length, space.length - length, length);
    if (count === 0) break;
    length += count;
  }
  return length === before.size && isSame(before, fstatSync(fd)) ? space.subarray(0, length) : null;
}

/** Programs often replace a file by a new one when they write it, so it is opened anew. */
function again(path: string, file: SourceFile, space: Buffer): Buffer | null {
  for (let reads = 1; reads < READS_MAX; reads++) {
    const fd = opened(path, file);
    try {
      const content = wholeFile(fd, fstatSync(fd), space);
      if (content !== null) return content;
    } finally {
      closeSync(fd);
    }
  }
  return null;
}

const isSame = (a: Stats, b: Stats) => a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;

async function packLargeFile(fd: number, stats: Stats, file: SourceFile, tar: Tar): Promise<void> {
  const first = createHash('sha256');
  await eachChunk(fd, stats.size, file, async (chunk) => {
    tar.signal.throwIfAborted();
    first.update(chunk);
  });
  const sum = first.digest();
  const second = createHash('sha256');
  await tar.file(file, stats.size, timeOf(sum));
  await eachChunk(fd, stats.size, file, async (chunk) => {
    second.update(chunk);
    await tar.put(chunk);
  });
  // The header is written already, so there is no second try.
  if (!second.digest().equals(sum) || !isSame(stats, fstatSync(fd))) throw changed(file);
  await tar.pad(stats.size);
}

async function eachChunk(fd: number, size: number, file: SourceFile, use: (chunk: Buffer) => Promise<void>) {
  const space = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = 0; at < size; ) {
    const count = readSync(fd, space, 0, Math.min(space.length, size - at), at);
    if (count === 0) throw changed(file);
    await use(space.subarray(0, count));
    at += count;
    await nextTurn();
  }
}

function opened(path: string, file: SourceFile): number {
  try {
    return openPlainFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') throw changed(file);
    throw new SourceError(
      `${JSON.stringify(file.path)} cannot be read (${code}). Let your account read it, ${OR_LEAVE_IT_OUT}.`,
    );
  }
}

const changed = ({ path }: SourceFile) =>
  new SourceError(
    `${JSON.stringify(path)} changed while it was packed, so nothing was sent. Try again once no program writes to it, ${OR_LEAVE_IT_OUT}.`,
  );

const timeOf = (sum: Buffer): Date =>
  new Date((FIRST_TIME_S + (sum.readUIntBE(0, 6) % (LAST_TIME_S - FIRST_TIME_S))) * 1000);

/**
 * Writes the tar format, in chunks of one size, because the compressed bytes may depend on the ends of
 * chunks.
 */
class Tar {
  readonly #gzip: Gzip;
  readonly signal: AbortSignal;
  #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #used = 0;

  constructor(gzip: Gzip, signal: AbortSignal) {
    this.#gzip = gzip;
    this.signal = signal;
  }

  file({ path, isExecutable }: SourceFile, size: number, mtime: Date): Promise<void> {
    return this.#header({ path, size, mtime, mode: isExecutable ? 0o755 : 0o644, type: 'File' });
  }

  root(): Promise<void> {
    return this.#header({
      path: './',
      size: 0,
      mtime: timeOf(hash('sha256', '', 'buffer')),
      mode: 0o755,
      type: 'Directory',
    });
  }

  link({ path, target }: SourceFile): Promise<void> {
    const mtime = timeOf(hash('sha256', target, 'buffer'));
    return this.#header({ path, linkpath: target, size: 0, mtime, mode: 0o755, type: 'SymbolicLink' });
  }

  async #header(fields: {
    path: string;
    linkpath?: string;
    size: number;
    mtime: Date;
    mode: number;
    type: 'File' | 'SymbolicLink' | 'Directory';
  }) {
    const common = { uid: 0, gid: 0, uname: '', gname: '' };
    const header = new Header({ linkpath: '', ...fields, ...common });
    if (header.encode()) {
      const { path, linkpath, size, mtime } = fields;
      // Some programs that read tars end such a record at a line break.
      if (`${path}${linkpath ?? ''}`.includes('\n'))
        throw new SourceError(`The name of ${JSON.stringify(path)} has a line break in it. Rename the file.`);
      await this.put(new Pax({ path, linkpath, size, mtime, ...common }).encode());
    }
    await this.put(header.block!);
  }

  async put(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const count = bytes.copy(this.#chunk, this.#used, at);
      at += count;
      this.#used += count;
      if (this.#used === CHUNK_BYTES) await this.#flush();
    }
  }

  /** Fills the last block of a file. */
  pad(size: number): Promise<void> {
    return this.put(Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES));
  }

  async end(): Promise<void> {
    await this.put(Buffer.alloc(2 * BLOCK_BYTES));
    this.#gzip.end(this.#chunk.subarray(0, this.#used));
  }

  async #flush(): Promise<void> {
    this.signal.throwIfAborted();
    const hasRoom = this.#gzip.write(this.#chunk);
    this.#chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    this.#used = 0;
    if (hasRoom) await nextTurn();
    else await once(this.#gzip, 'drain', { signal: this.signal });
  }
}
