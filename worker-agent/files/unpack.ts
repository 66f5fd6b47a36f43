/**
 * Writes the files of an archive from the VM onto this Mac, and takes the hash of each.
 *
 * Invariant: a name from the VM never becomes a path on this Mac, because files lie here under numbers. A
 * file's hash is taken from the very bytes that are written.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Parser, type ReadEntry } from 'tar';
import { UPLOAD_MAX_BYTES } from '#contract';
import type { LocalFile } from '../../client/blob-requests.ts';
import { type FoundFile, withoutDot } from './artifact-globs.ts';

/** A file on this Mac that will be an artifact called `name`. */
export interface LocalArtifact extends LocalFile {
  name: string;
}

/** Where the artifact with this place in the list lies. */
export const placeOf = (dir: string, index: number): string => join(dir, String(index));

/** Where the icon of the app at this path is kept. */
export const placeOfIcon = (artifactPath: string): string => `${artifactPath}.icon`;

/** Takes files out of a tar archive. Returns them in the order of `wanted`, without those it lacks. */
export async function unpackTo(
  dir: string,
  wanted: readonly FoundFile[],
  archive: AsyncIterable<Buffer>,
): Promise<LocalArtifact[]> {
  const unpacking = new Unpacking(dir, wanted);
  const end = Promise.withResolvers<void>();
  end.promise.catch(() => {}); // awaited below
  const parser = new Parser({ strict: true, onReadEntry: (entry) => unpacking.take(entry).catch(end.reject) });
  parser.on('error', end.reject).on('end', end.resolve);
  for await (const chunk of archive) if (!parser.write(chunk)) await Promise.race([once(parser, 'drain'), end.promise]);
  parser.end();
  await end.promise;
  const written = await unpacking.written();
  return wanted.flatMap(({ path }) => written.get(path) ?? []);
}

class Unpacking {
  /** The wanted files that the archive has not brought yet, and where they will lie. */
  readonly #places: Map<string, string>;
  readonly #writes: Promise<LocalArtifact>[] = [];
  /** If a file has several names, tar holds its content once and a link for each other name. */
  readonly #links: { name: string; path: string; target: string }[] = [];

  constructor(dir: string, wanted: readonly FoundFile[]) {
    this.#places = new Map(wanted.map(({ path }, index) => [path, placeOf(dir, index)]));
  }

  /** Rejects if the entry cannot be written, because the parser would wait for its reader for ever. */
  async take(entry: ReadEntry): Promise<void> {
    const name = withoutDot(entry.path);
    const path = this.#places.get(name);
    if (!path || entry.type === 'Directory') return void entry.resume();
    this.#places.delete(name); // once each
    if (entry.type === 'Link') {
      this.#links.push({ name, path, target: withoutDot(entry.linkpath ?? '') });
      return void entry.resume();
    }
    const write = writeHashed(Readable.from(entry), name, path);
    this.#writes.push(write);
    await write;
  }

  async written(): Promise<Map<string, LocalArtifact>> {
    const written = new Map((await Promise.all(this.#writes)).map((artifact) => [artifact.name, artifact]));
    for (const { name, path, target } of this.#links) {
      const content = written.get(target);
      if (!content) continue;
      await link(content.path, path);
      written.set(name, { ...content, name, path });
    }
    return written;
  }
}

/** Rejects if there are more bytes than one upload may have. */
export async function writeHashed(bytes: Readable, name: string, path: string): Promise<LocalArtifact> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const tooLong = () => new Error(`${name} has grown past the limit of ${UPLOAD_MAX_BYTES} bytes`);
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(sizeBytes > UPLOAD_MAX_BYTES ? tooLong() : null, chunk);
    },
  });
  await pipeline(bytes, meter, createWriteStream(path, { mode: 0o600 }));
  return { name, sha256: hash.digest('hex'), sizeBytes, path };
}
