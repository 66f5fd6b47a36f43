/**
 * Puts together one upload in parts: a Durable Object per upload, named by its id. It knows which parts have
 * arrived, joins them, reads the whole back and hashes it, because R2 has no SHA-256 of a file that came in
 * parts. Then it makes the file visible or deletes it.
 *
 *   open ──complete──▶ completing ──(one object in R2)──▶ verifying ──▶ stored | refused ──(a day)──▶ gone
 *     └──(a day without a part)──▶ aborted, gone
 *
 * Invariant: an upload that does not end as `stored` leaves nothing in R2 or D1, except a file of a deleted
 * project, which retention removes. An upload answers only the holder who began it.
 *
 * The alarm takes every arrow but `complete`. Each may be repeated, and is booked again if it fails. Each
 * alarm hashes one slice, so that neither memory nor the CPU time of one call depends on the file's size. The
 * state of the digest is only in memory. If the object is evicted, the digest begins anew, which costs only
 * time.
 *
 * Owns the KV keys `upload` and `part/…`, the alarm, and its own multipart upload and object in R2 below
 * `blobs/`.
 */
/// <reference path="../node-crypto.d.ts" />
import { DurableObject } from 'cloudflare:workers';
import { createHash } from 'node:crypto';
import { DAY_MS } from '#contract';
import { randomText } from '../bytes.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { isAlarmLost } from '../times.ts';
import { makeVisible, openBlobRow, r2ErrorCode } from './blobs.ts';
import { type Holder, touchHold } from './holds.ts';
import {
  cannotVerify,
  gone,
  lost,
  mayGoOn,
  mismatch,
  PART,
  type PartTarget,
  partCount,
  partKey,
  partSize,
  refuseMissing,
  type Shown,
  shown,
  type UploadRecord,
} from './upload-record.ts';

/** An upload without a new part for this long is aborted. An ended upload is remembered for as long. */
export const UPLOAD_IDLE_MS = DAY_MS;
/** The bytes that one alarm reads and hashes, which takes some tenths of a second of CPU time. */
const SLICE_BYTES = 32 * 1024 * 1024;
/**
 * If a step was begun this often without an end or an error, the platform stops it each time. The upload then
 * ends.
 */
const STOPPED_MAX = 5;
/** A step that failed this often, over about ten minutes, ends the upload. Its sender may begin a new one. */
const FAILURES_MAX = 16;
const RETRY_MAX_MS = 60_000;
/**
 * R2's errors that a retry does not change: a part is too small, the upload is unknown, a part is not as
 * announced.
 */
const R2_FINAL_ERRORS = new Set([10011, 10024, 10025, 10048]);

export class BlobUpload extends DurableObject<Env> {
  #hash = createHash('sha256');
  #hashedBytes = 0;
  #working = false;

  async begin(holder: Holder, sha256: string, size: number, now: number): Promise<Shown> {
    const r2Key = `blobs/${sha256}/${randomText(9)}`;
    // If the record is not written, R2 drops the upload by itself after a week.
    const { uploadId } = await this.env.BLOBS.createMultipartUpload(r2Key);
    const begun: UploadRecord = {
      holder,
      sha256,
      size,
      r2Key,
      r2UploadId: uploadId,
      state: 'open',
      touchedAt: now,
      verifiedBytes: 0,
      tries: 0,
      failures: 0,
    };
    this.#write(begun);
    await this.ctx.storage.setAlarm(now + UPLOAD_IDLE_MS);
    return this.#show(begun);
  }

  /**
   * Says where the part belongs. Refused: `not_found`, `invalid_request` for a part number that the file
   * lacks.
   */
  target(holder: Holder, sha256: string, part: number, now: number): PartTarget | Refusal {
    const record = this.#readFor(holder, sha256);
    if (record?.state !== 'open') return gone;
    if (part > partCount(record.size))
      return refusal('invalid_request', `part: the file has ${partCount(record.size)} parts`);
    this.#write({ ...record, touchedAt: now });
    const { r2Key, r2UploadId } = record;
    const stored = this.ctx.storage.kv.get(partKey(part)) !== undefined;
    return { ok: true, r2Key, r2UploadId, size: partSize(record.size, part), stored };
  }

  /** Notes that the part is in R2 and has the announced digest. */
  note(part: number, etag: string): void {
    if (this.#read()?.state === 'open') this.ctx.storage.kv.put(partKey(part), etag);
  }

  /**
   * Begins to join and verify the parts; ask `show` for the outcome. Refused: `not_found`,
   * `upload_incomplete`, and as the outcome says.
   */
  async complete(holder: Holder, sha256: string, now: number): Promise<Shown> {
    const record = this.#readFor(holder, sha256);
    if (!record) return gone;
    if (record.state !== 'open') return this.#show(record);
    const stored = new Set(this.#parts().map(([part]) => part));
    const missing = refuseMissing(record.size, stored);
    if (missing) return missing;
    const next: UploadRecord = { ...record, state: 'completing', touchedAt: now };
    this.#write(next);
    await this.ctx.storage.setAlarm(now);
    return this.#show(next);
  }

  async show(holder: Holder, sha256: string, now: number): Promise<Shown> {
    const record = this.#readFor(holder, sha256);
    if (!record) return gone;
    // The platform may have given up the alarm, or lost it. Then this call books it again.
    const waiting = record.state === 'completing' || record.state === 'verifying';
    if (waiting && !this.#working) {
      const alarmAt = await this.ctx.storage.getAlarm();
      if (alarmAt === null || isAlarmLost(alarmAt, now)) await this.ctx.storage.setAlarm(now);
    }
    return this.#show(record);
  }

  async abort(holder: Holder, sha256: string): Promise<boolean> {
    const record = this.#readFor(holder, sha256);
    if (record?.state !== 'open') return false;
    await this.#forget(record);
    return true;
  }

  override async alarm(): Promise<void> {
    const record = this.#read();
    if (!record) return;
    this.#working = true;
    try {
      await this.#step(record, Date.now());
    } catch (error) {
      console.error(JSON.stringify({ event: 'upload_failed', sha256: record.sha256, error: String(error) }));
      const failed = this.#read();
      if (failed) this.#write({ ...failed, failures: failed.failures + 1 });
      const backoffMs = Math.min(RETRY_MAX_MS, 1_000 * 2 ** (failed?.failures ?? 0));
      await this.ctx.storage.setAlarm(Date.now() + backoffMs);
    } finally {
      this.#working = false;
    }
  }

  async #step(record: UploadRecord, now: number): Promise<void> {
    const idleAt = record.touchedAt + UPLOAD_IDLE_MS;
    if (record.state === 'open' || record.state === 'stored' || record.state === 'refused') {
      if (now < idleAt) return this.ctx.storage.setAlarm(idleAt);
      return this.#forget(record);
    }
    if (record.tries - record.failures >= STOPPED_MAX) return this.#refuse(record, cannotVerify);
    if (record.failures >= FAILURES_MAX) return this.#refuse(record, lost);
    const trying = { ...record, tries: record.tries + 1 };
    this.#write(trying);
    if (record.state === 'completing') await this.#putTogether(trying);
    else await this.#verify(trying);
  }

  async #putTogether(record: UploadRecord): Promise<void> {
    const { BLOBS } = this.env;
    const { sha256, size, r2Key, r2UploadId } = record;
    let object = await BLOBS.head(r2Key);
    if (!object) {
      const parts = this.#parts().map(([partNumber, etag]) => ({ partNumber, etag }));
      try {
        object = await BLOBS.resumeMultipartUpload(r2Key, r2UploadId).complete(parts);
      } catch (error) {
        if (!R2_FINAL_ERRORS.has(r2ErrorCode(error) ?? 0)) throw error;
        // The answer to an earlier try may have been lost. Then the object is there.
        object = await BLOBS.head(r2Key);
        if (!object) return this.#refuse(record, lost);
      }
    }
    if (object.size !== size) return this.#refuse(record, mismatch(sha256));
    return this.#next({ ...record, state: 'verifying', tries: 0, failures: 0, touchedAt: Date.now() });
  }

  async #verify(record: UploadRecord): Promise<void> {
    const { sha256, size, r2Key } = record;
    const verifiedBytes = record.verifiedBytes === this.#hashedBytes ? this.#hashedBytes : 0;
    if (verifiedBytes === 0) this.#restart();
    const length = Math.min(SLICE_BYTES, size - verifiedBytes);
    const object = await this.env.BLOBS.get(r2Key, { range: { offset: verifiedBytes, length } });
    if (!object) return this.#refuse(record, lost);
    try {
      for await (const bytes of object.body) {
        this.#hash.update(bytes);
        this.#hashedBytes += bytes.byteLength;
      }
      if (this.#hashedBytes !== verifiedBytes + length) throw new Error(`${r2Key} ended at ${this.#hashedBytes}`);
    } catch (error) {
      this.#restart();
      throw error;
    }
    if (this.#hashedBytes < size)
      return this.#next({ ...record, verifiedBytes: this.#hashedBytes, tries: 0, failures: 0 });
    const digest = this.#hash.digest('hex');
    this.#restart();
    if (digest !== sha256) return this.#refuse(record, mismatch(sha256));
    const now = Date.now();
    // An upload of the former release gets its holder when the sender asks for it, perhaps during this step.
    // If it still has none, the sender begins anew.
    const holder = this.#read()?.holder;
    if (holder === undefined) return this.#refuse(record, lost);
    const visible = await makeVisible(this.env, holder, { sha256, r2Key, size, createdAt: now, touchedAt: now });
    if (!visible.ok) return this.#refuse(record, visible);
    return this.#end({ ...record, state: 'stored', verifiedBytes: size });
  }

  #restart(): void {
    this.#hash = createHash('sha256');
    this.#hashedBytes = 0;
  }

  async #next(record: UploadRecord): Promise<void> {
    this.#write(record);
    await this.ctx.storage.setAlarm(Date.now());
  }

  async #end(record: UploadRecord): Promise<void> {
    const touchedAt = Date.now();
    this.#write({ ...record, tries: 0, failures: 0, touchedAt });
    await this.ctx.storage.setAlarm(touchedAt + UPLOAD_IDLE_MS);
  }

  async #refuse(record: UploadRecord, why: Refusal): Promise<void> {
    const { holder, sha256, size, r2Key } = record;
    // An object that a row refers to stays.
    if ((await openBlobRow(this.env, sha256))?.r2Key !== r2Key) await this.#dropFromR2(record);
    // The answer to makeVisible may have been lost.
    const held = holder !== undefined && (await touchHold(this.env, holder, sha256, Date.now()));
    if (held && why.code !== 'hash_mismatch') return this.#end({ ...record, state: 'stored', verifiedBytes: size });
    await this.#end({ ...record, state: 'refused', refusal: why });
  }

  /** Deletes the object if there is one, and the parts that were never joined. */
  async #dropFromR2({ r2Key, r2UploadId }: UploadRecord): Promise<void> {
    await this.env.BLOBS.delete(r2Key);
    try {
      await this.env.BLOBS.resumeMultipartUpload(r2Key, r2UploadId).abort();
    } catch (error) {
      if (!R2_FINAL_ERRORS.has(r2ErrorCode(error) ?? 0)) throw error;
    }
  }

  async #forget(record: UploadRecord): Promise<void> {
    if (record.state === 'open') await this.#dropFromR2(record);
    await this.ctx.storage.deleteAll();
  }

  #read(): UploadRecord | null {
    return this.ctx.storage.kv.get<UploadRecord>('upload') ?? null;
  }

  /** The record, if the upload is of this file and of this holder. One that had no holder gets this one. */
  #readFor(holder: Holder, sha256: string): UploadRecord | null {
    const record = this.#read();
    if (record?.sha256 !== sha256 || !mayGoOn(record, holder)) return null;
    if (record.holder === undefined) this.#write({ ...record, holder });
    return { ...record, holder };
  }

  #write(record: UploadRecord): void {
    this.ctx.storage.kv.put('upload', record);
  }

  /** The stored parts in the order of their numbers. */
  #parts(): [part: number, etag: string][] {
    return [...this.ctx.storage.kv.list<string>({ prefix: PART })].map(([key, etag]) => [
      Number(key.slice(PART.length)),
      etag,
    ]);
  }

  #show(record: UploadRecord): Shown {
    return shown(record, record.state === 'open' ? this.#parts().map(([part]) => part) : []);
  }
}
