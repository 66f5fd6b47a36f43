/**
 * Uploads an .ipa to App Store Connect: makes the upload, reserves its file, sends the chunks, commits.
 *
 * Invariants: the number is not used before the commit, and the commit is made once. Each step first looks
 * whether an earlier try of it has done its work. Chunks go to hosts of Apple alone, without our token.
 */
import { z } from 'zod';
import type { AppStoreSubmit } from '#contract';
import { CHUNKS_AT_ONCE, type StepContext, type StepData, type StepResult } from '../step.ts';
import { askStore, uploadAddress, words } from '../store-request.ts';
import {
  BuildUploadAnswer,
  type BuildUploadFile,
  BuildUploadFileAnswer,
  BuildUploadFilesAnswer,
  errorsOfState,
  type Operation,
} from './answers.ts';
import { idsOf, isOurs, next, numberedOf, type Plain, textOf, withUpload } from './data.ts';
import { buildOf, closedBy, closedWords, findApp, hasTakenNumber, uploadsOf } from './looks.ts';
import { AppStoreRefused, failed, meaningOf, reasonOf, wordsOf } from './refusals.ts';
import { change, read } from './requests.ts';

type Context = StepContext<AppStoreSubmit>;

export async function find(context: Context, plain: Plain): Promise<StepResult> {
  const { artifact, options } = context;
  const app = await findApp(context, artifact.app.id, options.ascAppId ?? null);
  if ('reason' in app) return failed(app.reason, app.storeWords);
  return next('look', { ...plain, appleId: app.id });
}

/**
 * Asks whether the store has the build already. If its upload is none that we have made, its number is used.
 * Also remembers which unfinished uploads are not ours.
 */
export async function look(context: Context, plain: Plain): Promise<StepResult> {
  const numbered = numberedOf(context, plain);
  const { version, buildNumber } = numbered;
  const used = failed('build_number_used', `App Store Connect has build ${buildNumber} of version ${version}.`);
  const build = await buildOf(context, numbered);
  if (build) {
    const upload = build.relationships?.buildUpload?.data?.id ?? null;
    return isOurs(plain, upload) ? next('finish', { ...plain, buildId: build.id }) : used;
  }
  const uploads = await uploadsOf(context, numbered);
  const taken = uploads.find(hasTakenNumber);
  if (taken) return isOurs(plain, taken.id) ? next('watch', { ...plain, uploadId: taken.id }) : used;
  const closed = await closedBy(context, numbered.appleId, version);
  if (closed !== null && closed !== 'unknown') return failed('version_closed', closedWords(version, closed));
  if (plain.others !== undefined) return next('create', plain);
  return next('create', { ...plain, others: uploads.map(({ id }) => id).join(' ') });
}

/** The unfinished upload that an earlier try has made, if any. */
async function madeBefore(context: Context, plain: Plain): Promise<string | null> {
  if (plain.others === undefined) return null;
  const others = new Set(idsOf(plain.others));
  const uploads = await uploadsOf(context, numberedOf(context, plain));
  const ours = uploads.find(({ id, attributes }) => attributes.state.state === 'AWAITING_UPLOAD' && !others.has(id));
  return ours?.id ?? null;
}

const withNewUpload = ({ fileId: _, sent: _sent, taken: _taken, ...plain }: Plain, uploadId: string): Plain =>
  withUpload(plain, uploadId);

export async function create(context: Context, plain: Plain): Promise<StepResult> {
  const made = await madeBefore(context, plain);
  if (made !== null) return next('reserve', made === plain.uploadId ? plain : withNewUpload(plain, made));
  const { appleId, version, buildNumber } = numberedOf(context, plain);
  const data = {
    type: 'buildUploads',
    attributes: { platform: 'IOS', cfBundleShortVersionString: version, cfBundleVersion: buildNumber },
    relationships: { app: { data: { type: 'apps', id: appleId } } },
  };
  try {
    const { data: upload } = await change(context, 'POST', '/v1/buildUploads', data, BuildUploadAnswer);
    return next('reserve', withNewUpload(plain, upload.id));
  } catch (error) {
    if (!(error instanceof AppStoreRefused) || reasonOf(error) !== 'build_number_used') throw error;
    return numberTaken(plain, error);
  }
}

/** How often in a row the store may say that the number is taken, before we believe it. */
const TAKEN_MAX = 3;
const TAKEN_PAUSE_MS = 10_000;

/** The upload of an earlier try may show in the store only later. So we look again before we believe it. */
function numberTaken(plain: Plain, refused: AppStoreRefused): StepResult {
  const taken = Number(plain.taken ?? 0) + 1;
  if (taken > TAKEN_MAX) return failed('build_number_used', refused.message);
  if (taken === TAKEN_MAX) return next('look', { ...plain, taken });
  return { kind: 'wait', afterMs: TAKEN_PAUSE_MS, data: { plain: { ...plain, taken }, secret: {} } };
}

/** The stored part of an operation. It is sealed, because anybody who has its address can upload. */
const Stored = z.array(
  z.object({ url: z.string(), offset: z.number(), length: z.number(), headers: z.record(z.string(), z.string()) }),
);
type Stored = z.infer<typeof Stored>;

/** Operations that are stored at a time, as JSON. The rest is asked for later. */
const OPERATIONS_MAX_CHARS = 256 * 1024;

/** An answer with the operations of a whole file: thousands of them, with signed addresses. */
const OPERATIONS_ANSWER_MAX_BYTES = 4 * 1024 * 1024;

/** How often in a row the addresses are asked for anew, while no byte gets through. */
const RENEWALS_MAX = 3;
/** The pause before the second time. The pause before the third time is five times as long. */
const RENEWAL_PAUSE_MS = 60_000;

/** Reserves the file, or finds the one that is reserved, and stores where its next bytes go. */
export async function reserve(context: Context, plain: Plain): Promise<StepResult> {
  const { artifact, addresses } = context;
  const uploadId = textOf(plain, 'uploadId');
  const file = await reservedFile(context, uploadId);
  if (file === null) return beginAnew(context, plain, 'lost the upload');
  if (isCommitted(file)) return next('watch', { ...plain, fileId: file.id, committing: true });
  const sent = Number(plain.sent ?? 0);
  const operations = (file.attributes.uploadOperations ?? [])
    .filter(({ offset }) => offset >= sent)
    .toSorted((a, b) => a.offset - b.offset);
  if (!covers(operations, sent, artifact.size))
    return beginAnew(context, plain, 'named no addresses for all bytes of the file');
  for (const { method, url } of operations) {
    ourAddress(url, addresses);
    if (method !== 'PUT') return failed('upload_not_allowed', words(`App Store Connect asks for ${method}.`));
  }
  return next('chunks', { ...plain, fileId: file.id }, { secret: { operations: storedOf(operations) } });
}

/** The first operations, as many as may be stored. */
function storedOf(operations: readonly Operation[]): Stored {
  const stored: Stored = [];
  let chars = 0;
  for (const { url, offset, length, requestHeaders } of operations) {
    const headers = Object.fromEntries((requestHeaders ?? []).map(({ name, value }) => [name, value]));
    const one = { url, offset, length, headers };
    chars += JSON.stringify(one).length;
    if (stored.length > 0 && chars > OPERATIONS_MAX_CHARS) break;
    stored.push(one);
  }
  return stored;
}

/** Null: the store does not have the upload any more. */
async function reservedFile(context: Context, uploadId: string): Promise<BuildUploadFile | null> {
  try {
    const path = `/v1/buildUploads/${uploadId}/buildUploadFiles`;
    const caller = { ...context, answerMaxBytes: OPERATIONS_ANSWER_MAX_BYTES };
    const { data: files } = await read(caller, path, { limit: 10 }, BuildUploadFilesAnswer);
    const before = files.find(({ attributes }) => attributes.fileSize === context.artifact.size);
    return before ?? (await reserved(context, uploadId));
  } catch (error) {
    if (error instanceof AppStoreRefused && error.status === 404) return null;
    throw error;
  }
}

async function reserved({ artifact, ...context }: Context, uploadId: string): Promise<BuildUploadFile> {
  const caller = { ...context, answerMaxBytes: OPERATIONS_ANSWER_MAX_BYTES };
  const data = {
    type: 'buildUploadFiles',
    attributes: { assetType: 'ASSET', fileName: 'app.ipa', fileSize: artifact.size, uti: 'com.apple.ipa' },
    relationships: { buildUpload: { data: { type: 'buildUploads', id: uploadId } } },
  };
  const { data: file } = await change(caller, 'POST', '/v1/buildUploadFiles', data, BuildUploadFileAnswer);
  return file;
}

const isCommitted = ({ attributes }: BuildUploadFile): boolean =>
  attributes.assetDeliveryState?.state === 'UPLOAD_COMPLETE' || attributes.assetDeliveryState?.state === 'COMPLETE';

const ourAddress = (url: string, { uploadHosts, insecure }: Context['addresses']) =>
  uploadAddress(url, uploadHosts.apple, insecure);

/** Whether operations, in order, send each byte from `start` on once. */
function covers(operations: readonly Operation[], start: number, size: number): boolean {
  let end = start;
  for (const { offset, length } of operations) {
    if (offset !== end) return false;
    end += length;
  }
  return end === size;
}

/** Deletes an upload that is of no use, and looks again. */
async function beginAnew(context: Context, plain: Plain, why: string): Promise<StepResult> {
  const renewals = Number(plain.renewals ?? 0) + 1;
  if (renewals > RENEWALS_MAX) return failed('store_unavailable', `App Store Connect has ${why}.`);
  await deleteUpload(context, textOf(plain, 'uploadId'));
  return next('look', { ...afterLoss(plain), renewals }, { sentBytes: 0 });
}

/** Chunks under way at a time. With their reads from R2 they use four of an invocation's six connections. */
const LANES = 2;

export async function chunks(context: Context, plain: Plain, secret: StepData['secret']): Promise<StepResult> {
  const sent = Number(plain.sent ?? 0);
  if (sent === context.artifact.size) return next('commit', { ...plain, committing: true }, { sentBytes: sent });
  const operations = Stored.safeParse(secret.operations).data ?? [];
  const batch = operations.filter(({ offset }) => offset >= sent).slice(0, CHUNKS_AT_ONCE);
  if (batch[0]?.offset !== sent) return next('reserve', plain);
  const results: PromiseSettledResult<void>[] = [];
  for (let first = 0; first < batch.length && results.every(isFulfilled); first += LANES) {
    const lanes = batch.slice(first, first + LANES);
    results.push(...(await Promise.allSettled(lanes.map((operation) => send(context, operation)))));
  }
  const failure = results.find((result) => result.status === 'rejected');
  const whole = failure ? results.indexOf(failure) : results.length;
  const last = batch[whole - 1];
  // Chunks before the first failure are not sent again. The chunk that failed is repeated.
  if (last) {
    const now = last.offset + last.length;
    const left = operations.filter(({ offset }) => offset >= now);
    const { renewals: _, ...rest } = plain;
    return next('chunks', { ...rest, sent: now }, { secret: { operations: left }, sentBytes: now });
  }
  const error = failure?.status === 'rejected' ? failure.reason : undefined;
  return error instanceof ChunkRefused ? refusedChunk(plain, error) : Promise.reject(error);
}

const isFulfilled = ({ status }: PromiseSettledResult<void>): boolean => status === 'fulfilled';

class ChunkRefused extends Error {
  readonly status: number;

  constructor(status: number, said: string) {
    super(`The upload address answered ${status}. ${words(said)}`.trim());
    this.status = status;
  }
}

/** A slow line still gets a chunk through, at 256 KiB a second. The step has a limit of its own. */
const chunkLimitMs = (length: number): number => 60_000 + length / 256;

async function send({ addresses, signal, bytes }: Context, { url, offset, length, headers }: Stored[number]) {
  const address = ourAddress(url, addresses);
  const body = { stream: await bytes(offset, length), length };
  const limitMs = chunkLimitMs(length);
  const { status, text } = await askStore({ method: 'PUT', url: address, signal, limitMs, headers, body });
  if (status < 200 || status >= 300) throw new ChunkRefused(status, text);
}

/**
 * An address lives for some hours. When it has expired, Apple has new ones, which are asked for at once. If
 * these are refused too, the fault may pass.
 */
function refusedChunk(plain: Plain, refused: ChunkRefused): StepResult {
  if (refused.status === 429 || refused.status >= 500) return { kind: 'retry', why: refused.message };
  const renewals = Number(plain.renewals ?? 0) + 1;
  if (renewals > RENEWALS_MAX) return failed('store_unavailable', refused.message);
  const renewed = { ...plain, renewals };
  if (renewals === 1) return next('reserve', renewed);
  // Without addresses the step asks for new ones.
  return { kind: 'wait', afterMs: RENEWAL_PAUSE_MS * 5 ** (renewals - 2), data: { plain: renewed, secret: {} } };
}

/** Says that all bytes are there. From here on the number is used, and nothing stops the store any more. */
export async function commit(context: Context, { lost, ...plain }: Plain): Promise<StepResult> {
  const fileId = textOf(plain, 'fileId');
  const path = `/v1/buildUploadFiles/${fileId}`;
  const file = await fileOf(context, path);
  if (file === null) return withoutFile(plain, Number(lost ?? 0) + 1);
  if (isCommitted(file)) return next('watch', plain, { says: 'App Store Connect has the whole file.' });
  const errors = errorsOfState(file.attributes.assetDeliveryState?.errors);
  if (file.attributes.assetDeliveryState?.state === 'FAILED')
    return failed(meaningOf(errors) ?? 'upload_damaged', wordsOf(errors));
  const checksums = { file: { hash: context.artifact.sha256, algorithm: 'SHA_256' } };
  const patch = (attributes: object) =>
    change(context, 'PATCH', path, { type: 'buildUploadFiles', id: fileId, attributes }, BuildUploadFileAnswer);
  try {
    await patch({ uploaded: true, sourceFileChecksums: checksums });
  } catch (error) {
    if (!(error instanceof AppStoreRefused) || !/sourceFileChecksums/.test(error.message)) throw error;
    await patch({ uploaded: true });
  }
  return next('watch', plain, { says: 'App Store Connect has the whole file.' });
}

/** The file may not show yet. If it was deleted, the upload or a build shows what happened to it. */
function withoutFile(plain: Plain, lost: number): StepResult {
  if (lost > FILE_LOST_MAX) return next('watch', plain);
  return { kind: 'wait', afterMs: FILE_PAUSE_MS * lost, data: { plain: { ...plain, lost }, secret: {} } };
}

const FILE_LOST_MAX = 5;
const FILE_PAUSE_MS = 10_000;

/** The upload is deleted, but may still become a build. No upload that is in the store now is ours. */
function afterLoss({ uploadId: _upload, fileId: _file, sent: _sent, others: _, ...rest }: Plain): Plain {
  return rest;
}

/** Null: the store does not have the file any more. */
async function fileOf(context: Context, path: string): Promise<BuildUploadFile | null> {
  const query = { 'fields[buildUploadFiles]': 'assetDeliveryState,fileSize' };
  try {
    return (await read(context, path, query, BuildUploadFileAnswer)).data;
  } catch (error) {
    if (error instanceof AppStoreRefused && error.status === 404) return null;
    throw error;
  }
}

/** Apple lets us delete an upload until it is a build. A 404 means that it is deleted already. */
async function deleteUpload(context: Context, uploadId: string): Promise<void> {
  try {
    await change(context, 'DELETE', `/v1/buildUploads/${uploadId}`, null, z.unknown());
  } catch (error) {
    if (!(error instanceof AppStoreRefused) || error.status !== 404) throw error;
  }
}

/** Deletes the upload of a submission that has ended before Apple had its commit. */
export async function cleanUp(context: Context, { plain }: StepData): Promise<void> {
  if (plain.appleId === undefined) return;
  const uploadId = plain.uploadId ?? (await madeBefore(context, plain));
  if (typeof uploadId !== 'string') return;
  if (plain.committing === true && !(await waitsForCommit(context, plain, uploadId))) return;
  await deleteUpload(context, uploadId);
}

/** Whether Apple still waits for the commit, which we may have sent. */
async function waitsForCommit(context: Context, plain: Plain, uploadId: string): Promise<boolean> {
  const uploads = await uploadsOf(context, numberedOf(context, plain));
  const upload = uploads.find(({ id }) => id === uploadId);
  if (upload?.attributes.state.state !== 'AWAITING_UPLOAD' || typeof plain.fileId !== 'string') return false;
  const file = await fileOf(context, `/v1/buildUploadFiles/${plain.fileId}`);
  return file?.attributes.assetDeliveryState?.state === 'AWAITING_UPLOAD';
}
