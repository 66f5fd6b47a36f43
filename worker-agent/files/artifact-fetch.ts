/**
 * Brings the artifacts of a build from the VM to this Mac: lists the files, matches the globs, reads the
 * files that they name.
 *
 * Invariant: a file that changes while it is read is read again from the start, so that no artifact is torn.
 */
import { mkdir, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { ARTIFACTS_MAX, type ArtifactGlob, ArtifactName, UPLOAD_MAX_BYTES } from '#contract';
import { within } from '../../client/retry.ts';
import { failed } from '../ending.ts';
import type { EmitOfAttempt } from '../events.ts';
import { parseFileList } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { type GuestCommand, listFiles, packFiles, packFolder } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import type { Ssh } from '../guest/ssh.ts';
import type { Exited } from '../guest/ssh-channel.ts';
import { SshError } from '../guest/ssh-error.ts';
import { type FoundFile, matchInTime, rootsOf } from './artifact-globs.ts';
import { type LocalArtifact, placeOf, unpackTo, writeHashed } from './unpack.ts';

const LIST_MS = 120_000;
const FETCH_MS = 30 * 60_000;
const LIST_MAX_BYTES = 64 * 1024 * 1024;
const TRIES_MAX = 3;
/** How long to wait for a broken connection to say that it is broken. */
const LAST_WORD_MS = 1_000;
/** How much of tar's complaint goes into the message, in characters. */
const COMPLAINT_MAX = 500;

const archiveName = (folder: string) => `${folder}.tar.gz`;

export interface CollectOptions {
  guest: Guest;
  key: AttemptKey;
  globs: readonly ArtifactGlob[];
  dir: string;
  /** The beginning that names lose, unless two files would have one name then. */
  leftOut?: string;
  emit: EmitOfAttempt;
  signal: AbortSignal;
}

/** Rejects with AttemptOver: artifact_refused for unfit files, transfer_failed for broken transfers. */
export async function fetchArtifacts(
  options: CollectOptions,
): Promise<{ artifacts: LocalArtifact[]; missing: string[] }> {
  const { globs, dir, emit, leftOut = '' } = options;
  if (globs.length === 0) return { artifacts: [], missing: [] };
  const matched = await matchInTime(await listGuestFiles(options), globs, options.signal);
  if (!matched)
    throw failed(
      'artifact_refused',
      'artifact_match',
      'the globs of the artifacts take too long to match. Use fewer wildcards',
    );
  const { found, folders, missing } = matched;
  assertBounds(found, folders);
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const fetched = found.length === 0 ? [] : await fetchFiles(options, found);
  for (const folder of folders) fetched.push(await fetchFolder(options, folder, placeOf(dir, fetched.length)));
  const names = shorterNames(
    fetched.map(({ name }) => name),
    leftOut,
  );
  const artifacts = fetched.map((artifact, index) => ({ ...artifact, name: names[index]! }));
  for (const { name, sizeBytes, sha256 } of artifacts)
    emit({ type: 'artifact', status: 'found', name, sizeBytes, sha256 });
  return { artifacts, missing };
}

/** The names without their beginning. One that another file has, or would have too, stays as it is. */
export function shorterNames(names: readonly string[], leftOut: string): string[] {
  const shorter = names.map((name) => (leftOut !== '' && name.startsWith(leftOut) ? name.slice(leftOut.length) : name));
  return shorter.map((name, index) => (shorter.indexOf(name) === shorter.lastIndexOf(name) ? name : names[index]!));
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
 * Reads an archive that a command in the VM packs. Starts anew when the connection breaks, and when tar says
 * that a file changed while it was read. An error on this Mac, such as a full disk, ends the attempt.
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
    complaint = exited.stderr.trim().slice(-COMPLAINT_MAX);
  }
  throw refuse(`tar in the VM could not read the artifacts: ${complaint}`);
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
    // An archive that the connection has cut looks damaged, so the connection's own error comes first.
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
  throw failed('transfer_failed', 'artifact_list', 'the files of the build kept changing while the agent listed them');
}

function assertBounds(found: readonly FoundFile[], folders: readonly string[]): void {
  // The build itself has made these files, so another Mac would get the same. The transfer is not at fault.
  const refuse = (message: string) => failed('artifact_refused', 'artifacts', message);
  const count = found.length + folders.length;
  if (count > ARTIFACTS_MAX)
    throw refuse(
      `${count} files match, and a build can have ${ARTIFACTS_MAX} artifacts. Name the folder, or pack them into one archive`,
    );
  const names = [...found.map(({ path }) => path), ...folders.map(archiveName)];
  for (const name of names) {
    if (!ArtifactName.safeParse(name).success)
      throw refuse(`${JSON.stringify(name)} cannot be the name of an artifact. Rename the file`);
    if (names.indexOf(name) !== names.lastIndexOf(name))
      throw refuse(`${name} is a file, and also the name for the archive of a folder. Rename one of them`);
  }
  for (const { path, sizeBytes } of found)
    if (sizeBytes > UPLOAD_MAX_BYTES)
      throw refuse(`${path} has ${sizeBytes} bytes. An artifact can have ${UPLOAD_MAX_BYTES}`);
}
