/**
 * Brings the declared artifacts from the VM to the host and from there to the controller.
 *
 * Invariant: a name from the VM never becomes a path on the host: files lie there under numbers. A file's hash is taken from the very bytes
 * that are written, and nothing is listed that has not been stored.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { link, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Parser } from 'tar';
import { ARTIFACTS_MAX, type ArtifactGlob, ArtifactName, type ArtifactReport, UPLOAD_MAX_BYTES } from '#contract';
import type { Connection } from '../../client/request.ts';
import { within } from '../../client/retry.ts';
import { uploadBlob } from '../../client/upload.ts';
import { failed } from '../ending.ts';
import type { EmitOfAttempt } from '../events.ts';
import {
  type AttemptKey,
  type GuestCommand,
  listFiles,
  packFiles,
  packFolder,
  parseFileList,
} from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { type Exited, type Ssh, SshError } from '../guest/ssh.ts';
import { type FoundFile, matchInTime, rootsOf, withoutDot } from './artifact-globs.ts';

const LIST_MS = 120_000;
const FETCH_MS = 30 * 60_000;
const LIST_MAX_BYTES = 64 * 1024 * 1024;
const TRIES_MAX = 3;
/** For a connection that has broken to say so. */
const LAST_WORD_MS = 1_000;

export interface LocalArtifact extends ArtifactReport {
  path: string;
}

const archiveName = (folder: string) => `${folder}.tar.gz`;

export interface CollectOptions {
  guest: Guest;
  key: AttemptKey;
  globs: readonly ArtifactGlob[];
  dir: string;
  emit: EmitOfAttempt;
  signal: AbortSignal;
}

/** Rejects with AttemptOver: artifact_missing for files that cannot be taken, transfer_failed for those that could not be moved. */
export async function fetchArtifacts(
  options: CollectOptions,
): Promise<{ artifacts: LocalArtifact[]; missing: string[] }> {
  const { globs, dir, emit } = options;
  if (globs.length === 0) return { artifacts: [], missing: [] };
  const matched = await matchInTime(await listGuestFiles(options), globs, options.signal);
  if (!matched)
    throw failed('artifact_missing', 'artifact_match', 'the globs take too long to match: use fewer wildcards');
  const { found, folders, missing } = matched;
  assertBounds(found, folders);
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const artifacts = found.length === 0 ? [] : await fetchFiles(options, found);
  for (const folder of folders) artifacts.push(await fetchFolder(options, folder, join(dir, String(artifacts.length))));
  for (const { name, size, sha256 } of artifacts)
    emit({ type: 'artifact', status: 'found', name, sizeBytes: size, sha256 });
  return { artifacts, missing };
}

async function fetchFiles(options: CollectOptions, found: readonly FoundFile[]): Promise<LocalArtifact[]> {
  const packing = packFiles({ ...options.key, paths: found.map(({ path }) => path) });
  const artifacts = await readPacked(options, packing, (archive) => unpackTo(options.dir, found, archive));
  for (const { path } of found)
    if (!artifacts.some(({ name }) => name === path))
      throw failed('transfer_failed', 'artifact_fetch', `${path} could not be read in the VM`);
  return artifacts;
}

const fetchFolder = (options: CollectOptions, folder: string, path: string): Promise<LocalArtifact> =>
  readPacked(options, packFolder({ ...options.key, path: folder }), (archive) =>
    writeHashed(archive, archiveName(folder), path),
  );

/**
 * Again from the start when the connection breaks, or when tar says that a file changed under it: torn files are not what was built. What
 * breaks on this host, on a full disk above all, ends the attempt.
 */
async function readPacked<T>(
  { guest }: CollectOptions,
  command: GuestCommand,
  read: (archive: Readable) => Promise<T>,
): Promise<T> {
  const refuse = (why: string) => failed('transfer_failed', 'artifact_fetch', why);
  let complaint = '';
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const { value, exited } = await guest
      .attempt((ssh, signal) => readOnce(ssh, command, read, signal))
      .catch((error) => {
        throw error instanceof SshError ? refuse(error.message) : error;
      });
    if (exited.exitCode === 0) return value;
    complaint = exited.stderr.trim().slice(-500);
  }
  throw refuse(`tar in the VM could not read what was to be collected: ${complaint}`);
}

async function readOnce<T>(
  ssh: Ssh,
  command: GuestCommand,
  read: (archive: Readable) => Promise<T>,
  signal: AbortSignal,
): Promise<{ value: T; exited: Exited }> {
  const giveUp = new AbortController();
  const packing = await ssh.open(command, { timeoutMs: FETCH_MS, signal: AbortSignal.any([signal, giveUp.signal]) });
  packing.done.catch(() => {}); // awaited below, once its output has been read
  try {
    const value = await read(packing.stdout);
    return { value, exited: await packing.done };
  } catch (error) {
    // An archive that the connection has cut looks like a damaged one: the connection's own word comes first.
    const said = await within(
      packing.done.catch((reason: Error) => reason),
      LAST_WORD_MS,
    );
    giveUp.abort();
    for (const one of [error, said]) if (one instanceof SshError) throw one;
    throw failed('transfer_failed', 'artifact_fetch', `${command.name} was cut short: ${(error as Error).message}`);
  }
}

async function listGuestFiles({ guest, key, globs }: CollectOptions): Promise<FoundFile[]> {
  const roots = rootsOf(globs);
  if (roots.length === 0) return [];
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const listing = guest.exec(listFiles({ ...key, roots }), { timeoutMs: LIST_MS, maxOutputBytes: LIST_MAX_BYTES });
    const files = parseFileList((await expectSuccess('artifact_list', listing)).stdout);
    if (files) return files;
  }
  throw failed('transfer_failed', 'artifact_list', 'the files of the build kept changing while they were listed');
}

function assertBounds(found: readonly FoundFile[], folders: readonly string[]): void {
  // The build's doing: another Mac would meet the same.
  const refuse = (message: string) => failed('artifact_missing', 'artifacts', message);
  const count = found.length + folders.length;
  if (count > ARTIFACTS_MAX)
    throw refuse(
      `${count} files match; at most ${ARTIFACTS_MAX} are taken: name the folder, or pack them into one archive`,
    );
  const names = [...found.map(({ path }) => path), ...folders.map(archiveName)];
  for (const name of names) {
    if (!ArtifactName.safeParse(name).success)
      throw refuse(`${JSON.stringify(name)} cannot be the name of an artifact: rename it`);
    if (names.indexOf(name) !== names.lastIndexOf(name))
      throw refuse(`${name} is a file, and also the archive of a folder: rename one of them`);
  }
  for (const { path, sizeBytes } of found)
    if (sizeBytes > UPLOAD_MAX_BYTES) throw refuse(`${path} has ${sizeBytes} bytes; the limit is ${UPLOAD_MAX_BYTES}`);
}

/** In the order of `wanted`; without those that the archive lacks. */
export async function unpackTo(
  dir: string,
  wanted: readonly FoundFile[],
  archive: AsyncIterable<Buffer>,
): Promise<LocalArtifact[]> {
  const places = new Map(wanted.map(({ path }, index) => [path, join(dir, String(index))]));
  const writes: Promise<LocalArtifact>[] = [];
  /** Of one file under several names tar holds the content once. */
  const links: { name: string; path: string; target: string }[] = [];
  const end = Promise.withResolvers<void>();
  end.promise.catch(() => {});
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      const name = withoutDot(entry.path);
      const path = places.get(name);
      if (!path || entry.type === 'Directory') return void entry.resume();
      places.delete(name); // once each
      if (entry.type === 'Link') {
        links.push({ name, path, target: withoutDot(entry.linkpath ?? '') });
        return void entry.resume();
      }
      const write = writeHashed(Readable.from(entry), name, path);
      // An entry that nobody reads any more would hold the parser for ever.
      write.catch(end.reject);
      writes.push(write);
    },
  });
  parser.on('error', end.reject).on('end', end.resolve);
  for await (const chunk of archive) if (!parser.write(chunk)) await Promise.race([once(parser, 'drain'), end.promise]);
  parser.end();
  await end.promise;
  const written = new Map((await Promise.all(writes)).map((artifact) => [artifact.name, artifact]));
  for (const { name, path, target } of links) {
    const content = written.get(target);
    if (!content) continue;
    await link(content.path, path);
    written.set(name, { ...content, name, path });
  }
  return wanted.flatMap(({ path }) => written.get(path) ?? []);
}

async function writeHashed(bytes: Readable, name: string, path: string): Promise<LocalArtifact> {
  const hash = createHash('sha256');
  let size = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(
        size > UPLOAD_MAX_BYTES ? new Error(`${name} has grown past the limit of ${UPLOAD_MAX_BYTES} bytes`) : null,
        chunk,
      );
    },
  });
  await pipeline(bytes, meter, createWriteStream(path, { mode: 0o600 }));
  return { name, sha256: hash.digest('hex'), size, path };
}

export interface UploadOptions {
  /** With the worker's key: blobs belong to no attempt. */
  connection: Connection;
  emit: EmitOfAttempt;
  giveUpAfterMs: number;
  signal: AbortSignal;
  /** The ids of uploads that a former run has begun, by hash, and where to write a new one down. */
  uploads: Readonly<Record<string, string>>;
  onBegun: (sha256: string, uploadId: string) => Promise<void>;
}

/** Stores each; a repetition is harmless. Rejects with AttemptOver: transfer_failed, step artifact_upload. */
export async function uploadArtifacts(
  artifacts: readonly LocalArtifact[],
  options: UploadOptions,
): Promise<ArtifactReport[]> {
  const { connection, emit, giveUpAfterMs, signal, uploads, onBegun } = options;
  for (const { name, sha256, size, path } of artifacts) {
    const answer = await uploadBlob(
      connection,
      { path, sha256, sizeBytes: size },
      { giveUpAfterMs, signal, uploadId: uploads[sha256], onBegun: (uploadId) => onBegun(sha256, uploadId) },
    );
    if (!answer.ok) throw failed('transfer_failed', 'artifact_upload', `${name}: ${answer.message}`);
    emit({ type: 'artifact', status: 'stored', name, sizeBytes: size, sha256 });
  }
  return artifacts.map(({ name, sha256, size }) => ({ name, sha256, size }));
}
