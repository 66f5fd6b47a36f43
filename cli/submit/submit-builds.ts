/**
 * Takes the folder of an app to the controller: packs it, uploads it, and submits a build for each platform.
 *
 * Invariants: the archive lies in a folder that only this account can read, and is always deleted, also after
 * an error. In the end either all builds exist, or this call has cancelled those that it made.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Build, type Origin, USUAL_POOL, USUAL_PROJECT } from '#contract';
import { reasonOf } from '../../client/answer.ts';
import type { LocalFile } from '../../client/blob-requests.ts';
import type { BuildsClient } from '../../client/builds-client.ts';
import { GIT_DEPTH_MAX, withShallowGit } from '../../client/git-history/shallow-git.ts';
import { writeArchive } from '../../client/packing/archive.ts';
import type { SourceFile } from '../../client/packing/list-source.ts';
import { largeFoldersOf } from '../../client/packing/warnings.ts';
import type { UnseenSecrets } from '../../client/plan/plan.ts';
import { ProjectClient } from '../../client/project-client.ts';
import { refuseLinks, refuseTaken } from '../artifacts/folder.ts';
import { CommandError } from '../command-error.ts';
import { counted, size } from '../words.ts';
import { fingerprintFor } from './build-fingerprint.ts';
import { type Request, type RequestFlags, requestOf } from './build-request.ts';
import { refusalOf } from './check-plan.ts';
import { appForStore, type BuildChoice, type BuildFlags, chooseBuild, type Platform } from './choose-build.ts';
import { isFromStranger } from './github-event.ts';
import { isThere, onlyProject } from './only-project.ts';
import { originOf } from './origin.ts';
import { flagFor, type Project, type ProjectFlags, readProject } from './read-project.ts';
import type { Report } from './report.ts';
import { type StoreFlags, storeOptions } from './store-options.ts';
import { NO_SECRETS, storedSecrets } from './stored-secrets.ts';

const WARNINGS_SHOWN = 5;
/** The hash is known only once the source is packed. The rest of the request is checked before that. */
const NO_SHA256 = '0'.repeat(64);

export interface SubmitFlags extends ProjectFlags, BuildFlags, RequestFlags, Omit<StoreFlags, 'artifact'> {
  platform: Platform | 'all';
  idempotencyKey?: string;
  upload?: true;
  /** How many commits to send in a `.git`. Without a number: one. */
  withGit?: true | string;
  /** Where the artifacts will be written. */
  to?: string;
}

export interface Means {
  client: BuildsClient;
  report: Report;
  signal: AbortSignal;
}

export async function submitBuilds(folder: string, flags: SubmitFlags, means: Means): Promise<Build[]> {
  const { report, signal } = means;
  const project = await readProject(folder, flags, { explain: false, signal });
  const origin = await originOf(project.source, signal);
  const platforms: Platform[] = flags.platform === 'all' ? ['ios', 'android'] : [flags.platform];
  const depth = flags.withGit === undefined ? null : depthOf(flags.withGit);
  const choices: BuildChoice[] = [];
  for (const platform of platforms) choices.push(await chooseBuild(project, platform, flags));
  for (const choice of choices) await lookAtFolder(choice, flags);
  const requests: Request[] = [];
  for (const choice of choices) requests.push(await requestFor(project, choice, origin, flags, means));
  const patience = { signal, onUnreachable: report.away };
  const { connection } = means.client;
  const given = flags.project ?? project.json.project;
  const named = given ?? (await onlyProject(connection, patience));
  if (named !== undefined) for (const request of requests) request.project = named;
  // Both platforms have the same warnings.
  sayWhatGoes({ ...project, warnings: [...choices[0]!.warnings, ...project.warnings] }, report);
  let asked: ReturnType<typeof storedFor> | undefined;
  const stored = () => (asked ??= storedFor(named, flags.pool, means));
  for (const [index, choice] of choices.entries()) {
    const refusal = await refusalOf(project, choice, requests[index]!, stored);
    if (refusal !== null) throw new CommandError(refusal);
  }
  const archive = await packAndUpload(project, depth, means);
  if (given !== undefined && !(await isThere(connection, given, patience)))
    report.say(`! There is no project ${given}. If this key may make it, this build does. Is that its name?`);
  signal.throwIfAborted();
  const words = choices.map((choice) => `${choice.platform}, ${choice.words}`);
  return await submitAll(requests, words, archive, flags.idempotencyKey, means);
}

/** Null: the controller did not answer. The build itself will then show what it lacks. */
async function storedFor(
  project = USUAL_PROJECT,
  pool = USUAL_POOL,
  { client, signal }: Means,
): Promise<UnseenSecrets | null> {
  try {
    const projectClient = new ProjectClient(client.connection);
    return (await storedSecrets(projectClient, await projectClient.me(signal), project, pool)) ?? NO_SECRETS;
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

async function requestFor(
  project: Project,
  choice: BuildChoice,
  origin: Origin | null,
  flags: SubmitFlags,
  { client, report, signal }: Means,
): Promise<Request> {
  const { platform } = choice;
  // Two builds of one group would supersede each other, and two of one name would be the same build.
  const own = (name: string) => (flags.platform === 'all' ? `${name}-${platform}` : name);
  const { group } = flags;
  const idempotencyKey = own(flags.idempotencyKey ?? randomUUID());
  let submit = null;
  if (flags.upload) {
    const { files, source } = project;
    const storeProject = { files, appRoot: source.appRoot };
    const { options, notes } = await storeOptions(storeProject, platform, storeFlagsFor(platform, flags));
    for (const note of notes) report.say(note);
    submit = { options, app: await appForStore(project, choice) };
  }
  // A trusted key does not make a stranger's source trusted.
  const isUntrusted = flags.untrusted || isFromStranger(process.env, (path) => readFileSync(path, 'utf8'));
  const requestFlags: RequestFlags = {
    ...flags,
    ...(group !== undefined && { group: own(group) }),
    ...(isUntrusted && { untrusted: true }),
  };
  const means = { connection: client.connection, report, signal };
  const fingerprint = await fingerprintFor(project, choice, requestFlags, means);
  const made = { origin, submit, fingerprint, idempotencyKey, sha256: NO_SHA256 };
  return requestOf({ project, choice, flags: requestFlags, ...made });
}

/** With an idempotency key, files in the folder may come from the first call with this key. */
async function lookAtFolder({ platform, artifacts }: BuildChoice, flags: SubmitFlags): Promise<void> {
  if (flags.to === undefined) return;
  const folder = flags.platform === 'all' ? join(flags.to, platform) : flags.to;
  if (flags.idempotencyKey !== undefined) return await refuseLinks(folder);
  await refuseTaken(
    folder,
    platform,
    artifacts.map(({ glob }) => glob),
  );
}

/** With two platforms, only the build for iOS gets the text for testers. */
function storeFlagsFor(platform: Platform, flags: SubmitFlags): StoreFlags {
  const { submitProfile, storeKey, whatToTest } = flags;
  return {
    ...(submitProfile !== undefined && { submitProfile }),
    ...(storeKey !== undefined && { storeKey }),
    ...(whatToTest !== undefined && !(flags.platform === 'all' && platform === 'android') && { whatToTest }),
  };
}

/** Tells a person the warnings before the source is sent. `pack --list` shows all of them. */
function sayWhatGoes({ source, secrets, warnings }: Project, report: Report): void {
  for (const { path, sizeBytes, namedBy } of secrets.sent)
    report.line({ type: 'secret_file', path, sizeBytes, namedBy });
  for (const folder of largeFoldersOf(source)) report.line({ type: 'large_folder', ...folder });
  for (const path of secrets.notSent) report.line({ type: 'not_sent', path, flag: flagFor(source, path) });
  for (const warning of warnings) report.line({ type: 'warning', ...warning });
  const said = [
    ...warnings.map(({ path, message }) => `! ${path}: ${message}`),
    ...secrets.notSent.map(
      (path) => `! ${path}: is ignored, so the build does not get it. If it needs it, give ${flagFor(source, path)}`,
    ),
  ];
  for (const one of said.slice(0, WARNINGS_SHOWN)) report.say(one);
  if (said.length > WARNINGS_SHOWN)
    report.say(`! There are ${said.length - WARNINGS_SHOWN} more of these: \`expo-build pack --list\` shows all.`);
  if (secrets.sent.length > 0) report.say(`Sealed: ${secrets.sent.map(({ path }) => path).join(', ')}`);
  const large = largeFoldersOf(source).map(({ path, sizeBytes }) => `${path} (${size(sizeBytes)})`);
  if (large.length > 0) report.say(`The source is large. Its largest folders: ${large.join(', ')}`);
}

function depthOf(withGit: true | string): number {
  const depth = withGit === true ? 1 : Number(withGit);
  if (Number.isInteger(depth) && depth >= 1 && depth <= GIT_DEPTH_MAX) return depth;
  throw new CommandError(
    `--with-git ${withGit}: give the number of commits with =, such as --with-git=50, and a folder before the flag.`,
  );
}

/** @param depth how many commits to send in a `.git`; null: no `.git` */
async function packAndUpload({ source }: Project, depth: number | null, means: Means): Promise<LocalFile> {
  const { root, files } = source;
  if (depth === null) return await packFiles(root, files, means);
  return await withShallowGit(root, depth, means.signal, async (git) => {
    const sizeBytes = git.reduce((sum, file) => sum + file.sizeBytes, 0);
    means.report.say(
      `With ${depth === 1 ? 'the last commit' : `at most ${depth} commits`} in .git: ${size(sizeBytes)}.`,
    );
    return await packFiles(root, [...files, ...git], means);
  });
}

async function packFiles(
  root: string,
  files: readonly SourceFile[],
  { client, report, signal }: Means,
): Promise<LocalFile> {
  const folder = await mkdtemp(join(tmpdir(), 'expo-build-source-'));
  try {
    const count = files.length;
    const onPacked = (packed: number) => report.progress(`Packing: ${packed} of ${count} files`);
    const archive = await writeArchive(root, files, join(folder, 'source.tar.gz'), {
      signal,
      onProgress: onPacked,
    });
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const { sha256, sizeBytes: archiveBytes } = archive;
    report.line({ type: 'packed', files: count, sizeBytes, archiveBytes, sha256 });
    const onSent = (sentBytes: number) => report.progress(`Uploading: ${size(sentBytes)} of ${size(archiveBytes)}`);
    const patience = { signal, onUnreachable: report.away };
    const { existed } = await client.uploadOnce(archive, { ...patience, onProgress: onSent });
    report.reached();
    const packed = `Packed ${counted(count, 'file')}, ${size(archiveBytes)} compressed`;
    report.say(
      `${packed}. ${existed ? 'Unchanged since the last upload: 0 bytes sent' : `${size(archiveBytes)} sent`}.`,
    );
    report.line({ type: 'uploaded', sha256, sentBytes: existed ? 0 : archiveBytes });
    return archive;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function submitAll(
  requests: readonly Request[],
  words: readonly string[],
  { sha256 }: LocalFile,
  name: string | undefined,
  { client, report, signal }: Means,
): Promise<Build[]> {
  const builds: Build[] = [];
  const made: Build[] = [];
  let isAsked = false;
  try {
    for (const [index, request] of requests.entries()) {
      signal.throwIfAborted();
      const patience = { signal, onUnreachable: report.away };
      isAsked = true;
      const { build, isNew } = await client.submitNamed({ ...request, source: { sha256 } }, patience);
      isAsked = false;
      builds.push(build);
      if (isNew) made.push(build);
      report.reached();
      const address = addressOf(client, build);
      report.line({ type: 'submitted', build, address });
      const before = isNew ? '' : ` It was there before, under the name ${name}.`;
      report.say(`${build.id}: ${words[index]}. ${address}${before}`);
    }
    signal.throwIfAborted();
    return builds;
  } catch (error) {
    if (isAsked && signal.aborted)
      report.say('The controller did not answer. `expo-build list` shows whether it has made a build all the same.');
    for (const { id } of made) await withdraw(client, id, report);
    if (name !== undefined && made.length > 0)
      report.say(`The name ${name} stands for what was cancelled. Give another \`--idempotency-key\` next time.`);
    throw error;
  }
}

export const addressOf = ({ connection }: BuildsClient, { id }: Build): string => `${connection.url}/api/builds/${id}`;

/** Cancels a build that was just made, because a later step failed. */
async function withdraw(client: BuildsClient, buildId: string, report: Report): Promise<void> {
  try {
    report.line({ type: 'build', build: await client.cancel(buildId) });
    report.say(`${buildId} was cancelled again.`);
  } catch (error) {
    report.say(`${buildId} could not be cancelled: ${reasonOf(error as Error)}. Run \`expo-build cancel ${buildId}\`.`);
  }
}
