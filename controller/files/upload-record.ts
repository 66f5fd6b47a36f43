/** Defines the record of an upload in parts, and the answers about it. Pure. */
import { UPLOAD_PART_BYTES, type Upload } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import type { Holder } from './holds.ts';

export interface UploadRecord {
  /** The holder who began it and alone may continue it. Undefined in records of the former release. */
  holder?: Holder;
  sha256: string;
  size: number;
  r2Key: string;
  r2UploadId: string;
  state: 'open' | 'completing' | 'verifying' | 'stored' | 'refused';
  /** When the last part came or the state last changed. */
  touchedAt: number;
  verifiedBytes: number;
  /**
   * How often the present step was begun (written before each try), and how often it failed with an error.
   */
  tries: number;
  failures: number;
  refusal?: Refusal;
}

/**
 * Whether `holder` may continue the upload. A record of the former release has no holder. Only its sender was
 * told the id, so we take a holder that names the id for the sender. We do not if it ended as `stored`,
 * because the former release did not read the parts of a file that it had. The sender has then proven
 * nothing.
 */
export const mayGoOn = (record: UploadRecord, holder: Holder): boolean =>
  record.holder === undefined ? record.state !== 'stored' : record.holder === holder;

export interface PartTarget {
  ok: true;
  r2Key: string;
  r2UploadId: string;
  size: number;
  stored: boolean;
}

export type Shown = ({ ok: true } & Omit<Upload, 'id'>) | Refusal;

const MISSING_NAMED_MAX = 10;

export const PART = 'part/';
/** Keys have equal length, so that they sort by number. */
export const partKey = (part: number): string => PART + String(part).padStart(6, '0');
export const partCount = (size: number): number => Math.ceil(size / UPLOAD_PART_BYTES);
export const partSize = (size: number, part: number): number =>
  Math.min(UPLOAD_PART_BYTES, size - (part - 1) * UPLOAD_PART_BYTES);

/** Null if every part has arrived. */
export function refuseMissing(size: number, stored: ReadonlySet<number>): Refusal | null {
  const missing = Array.from({ length: partCount(size) }, (_, i) => i + 1).filter((part) => !stored.has(part));
  if (missing.length === 0) return null;
  const named = missing.slice(0, MISSING_NAMED_MAX).join(', ');
  return refusal('upload_incomplete', `${missing.length} parts are missing: ${named}`);
}

/** @param parts the numbers of the stored parts, while the upload is open */
export function shown({ sha256, size, state, verifiedBytes, refusal: refused }: UploadRecord, parts: number[]): Shown {
  if (state === 'refused') return refused ?? lost;
  const named = state === 'completing' ? 'verifying' : state;
  return { ok: true, sha256, size, state: named, partBytes: UPLOAD_PART_BYTES, parts, verifiedBytes };
}

export const gone = refusal('not_found', 'there is no such upload, or it takes no more parts: begin a new one');
export const lost = refusal('upload_incomplete', 'the parts cannot be joined or read back: begin a new upload');
export const mismatch = (sha256: string) =>
  refusal('hash_mismatch', `the joined parts are not the announced file: their SHA-256 is not ${sha256}`);
export const cannotVerify = refusal(
  'too_large',
  'the file could not be read back and verified within the CPU time of this deployment. ' +
    'On the Workers Free plan a file has at most 95 MiB.',
);
