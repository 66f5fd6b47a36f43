/**
 * Stores what one attempt prints: a Durable Object per attempt, named `BUILD/ATTEMPT`.
 *
 * Invariant: byte N is stored once and never changes, even if bytes arrive twice, late or overlapping.
 *
 *   open ──close──▶ closed ──(all segments in R2, the pointer in D1)──empty──▶ emptied
 *
 * Each arrow is one write. The work between two arrows is repeated after a crash and makes the same objects,
 * because a closed log no longer changes. The mark of a closed log stays for ever, so that a late append
 * begins no second log.
 *
 * Owns the table `chunks` and the KV key `closed` of the object, and writes R2 below `logs/`. seal.ts deletes
 * there. This module also owns following: each follower has a socket to the object, which sends the appended
 * bytes (followers.ts).
 */
import { DurableObject } from 'cloudflare:workers';
import type { LogTotal } from '#contract';
import type { ClosedLog } from './closed-log.ts';
import { NEXT } from './follower-messages.ts';
import { Followers } from './followers.ts';
import { compressSegment, SEGMENT_BYTES, segmentKey } from './segments.ts';

/** Small appends share a row up to this size. An append a second then makes some dozen rows in an hour. */
const SHARED_ROW_BYTES = 32 * 1024;
/** A row of SQLite in a Durable Object holds at most 2 MB. */
const ROW_MAX_BYTES = 1024 * 1024;
/**
 * No sane build prints more. The bound keeps sealing far from the platform's limits of memory and CPU time.
 */
export const LOG_MAX_BYTES = 256 * 1024 * 1024;

type AppendResult =
  | { ok: true; length: number; followers: number }
  /** The bytes would leave a gap. */
  | { ok: false; reason: 'gap'; length: number }
  | { ok: false; reason: 'sealed'; length: number }
  /** The log would outgrow {@link LOG_MAX_BYTES}. */
  | { ok: false; reason: 'full'; length: number };

interface LogRead {
  length: number;
  /** Null once the object is emptied, because the bytes are then in R2. */
  bytes: Uint8Array<ArrayBuffer> | null;
  /** Set when nothing more will be added. */
  closed: ClosedLog | null;
}

interface Closed extends ClosedLog {
  emptied: boolean;
}

export class BuildLog extends DurableObject<Env> {
  readonly #followers: Followers;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // `at` is the offset of the row's first byte. Rows are in order and without gaps.
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS chunks (at INTEGER PRIMARY KEY, bytes BLOB NOT NULL)');
    this.#followers = new Followers(ctx, {
      bytes: (from, to) => this.#bytes(from, to),
      closed: () => this.#mark(),
    });
  }

  /** Opens the socket of a follower: `?offset=` is its first byte, `&key=` the id of its key. */
  override fetch(request: Request): Response {
    const query = new URL(request.url).searchParams;
    return this.#followers.accept(Number(query.get('offset')), query.get('key') ?? '');
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    if (message === NEXT) this.#followers.serve(socket);
  }

  override webSocketClose(socket: WebSocket): void {
    socket.close();
  }

  /** Ends the following of this log with these keys. */
  endFollowers(keyIds: readonly string[]): void {
    this.#followers.endKeys(keyIds);
  }

  append(offset: number, bytes: Uint8Array<ArrayBuffer>): AppendResult {
    const closed = this.#closed();
    if (closed) return { ok: false, reason: 'sealed', length: closed.length };
    const last = this.#lastRow();
    const length = last ? last.at + last.size : 0;
    if (offset > length) return { ok: false, reason: 'gap', length };
    const fresh = bytes.subarray(length - offset);
    if (length + fresh.byteLength > LOG_MAX_BYTES) return { ok: false, reason: 'full', length };
    if (fresh.byteLength > 0) {
      this.#store(last, length, fresh);
      this.#followers.changed();
    }
    return { ok: true, length: length + fresh.byteLength, followers: this.#followers.count };
  }

  /** Reads up to `maxBytes` from `offset`; nothing at or past the end. */
  read(offset: number, maxBytes: number): LogRead {
    const closed = this.#mark() ?? null;
    if (this.#closed()?.emptied) return { length: closed!.length, bytes: null, closed };
    return { length: this.#length(), bytes: this.#bytes(offset, offset + maxBytes), closed };
  }

  /**
   * Closes the log to appends, if it has the length and the digest that `total` says, or if `force` is set.
   * Null: the log stays open, and its followers learn that the attempt has ended. A second call answers the
   * same as the first one.
   */
  async close(total: LogTotal | null, force: boolean): Promise<ClosedLog | null> {
    const length = this.#length();
    const matches = total !== null && total.length === length && total.sha256 === (await this.#sha256(length));
    // Another call may have run during the await. A log that grew no longer matches.
    const closed = this.#mark();
    if (closed) return closed;
    const complete = matches && this.#length() === length;
    if (!complete && !force) {
      this.#followers.attemptEnded();
      return null;
    }
    const mark: Closed = { length: this.#length(), complete, emptied: false };
    this.ctx.storage.kv.put('closed', mark);
    this.#followers.changed();
    return { length: mark.length, complete };
  }

  /**
   * Writes the closed log to R2 below `prefix`. Does nothing if the log is emptied, because it was written
   * before that.
   */
  async writeSegments(prefix: string): Promise<void> {
    const closed = this.#closed();
    if (!closed) throw new Error('a log is closed before it is written to R2');
    for (let at = 0; at < closed.length; at += SEGMENT_BYTES) {
      // A second sealing emptied it meanwhile, after it had written all segments.
      if (this.#closed()?.emptied) return;
      const raw = this.#bytes(at, Math.min(at + SEGMENT_BYTES, closed.length));
      await this.env.BLOBS.put(segmentKey(prefix, at), await compressSegment(raw));
    }
  }

  /**
   * Deletes all that is stored, the mark too. Call it only after all tokens of the attempt have expired,
   * because a late append would begin a second log.
   */
  async forget(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }

  /** Deletes the stored bytes. Call it when D1 knows where the segments are. */
  empty(): void {
    const closed = this.#closed();
    if (!closed) throw new Error('a log is closed before it is emptied');
    if (closed.emptied) return;
    this.ctx.storage.transactionSync(() => {
      this.ctx.storage.sql.exec('DELETE FROM chunks');
      this.ctx.storage.kv.put('closed', { ...closed, emptied: true } satisfies Closed);
    });
  }

  #closed(): Closed | undefined {
    return this.ctx.storage.kv.get<Closed>('closed');
  }

  /** The mark as others see it. */
  #mark(): ClosedLog | undefined {
    const closed = this.#closed();
    return closed && { length: closed.length, complete: closed.complete };
  }

  #length(): number {
    const last = this.#lastRow();
    return last ? last.at + last.size : 0;
  }

  #lastRow(): { at: number; size: number } | undefined {
    const sql = 'SELECT at, length(bytes) AS size FROM chunks ORDER BY at DESC LIMIT 1';
    return this.ctx.storage.sql.exec<{ at: number; size: number }>(sql).toArray()[0];
  }

  #store(last: { at: number; size: number } | undefined, length: number, fresh: Uint8Array<ArrayBuffer>): void {
    const { sql } = this.ctx.storage;
    if (last && last.size + fresh.byteLength <= SHARED_ROW_BYTES) {
      const joined = new Uint8Array(last.size + fresh.byteLength);
      joined.set(this.#bytes(last.at, length));
      joined.set(fresh, last.size);
      sql.exec('UPDATE chunks SET bytes = ? WHERE at = ?', joined, last.at);
      return;
    }
    this.ctx.storage.transactionSync(() => {
      for (let at = 0; at < fresh.byteLength; at += ROW_MAX_BYTES)
        sql.exec('INSERT INTO chunks (at, bytes) VALUES (?, ?)', length + at, fresh.slice(at, at + ROW_MAX_BYTES));
    });
  }

  /** The stored bytes from `from` to before `to`. */
  #bytes(from: number, to: number): Uint8Array<ArrayBuffer> {
    const size = Math.max(0, Math.min(to, this.#length()) - from);
    const result = new Uint8Array(size);
    if (size === 0) return result;
    const sql =
      'SELECT at, bytes FROM chunks WHERE at >= (SELECT max(at) FROM chunks WHERE at <= ?) AND at < ? ORDER BY at';
    for (const row of this.ctx.storage.sql.exec<{ at: number; bytes: ArrayBuffer }>(sql, from, from + size)) {
      const start = Math.max(0, from - row.at);
      const part = new Uint8Array(row.bytes).subarray(start, from + size - row.at);
      result.set(part, row.at + start - from);
    }
    return result;
  }

  async #sha256(length: number): Promise<string> {
    const digest = new crypto.DigestStream('SHA-256');
    const writer = digest.getWriter();
    for (let at = 0; at < length; at += SEGMENT_BYTES)
      await writer.write(this.#bytes(at, Math.min(at + SEGMENT_BYTES, length)));
    await writer.close();
    return new Uint8Array(await digest.digest).toHex();
  }
}

/** The object that stores the log of one attempt. */
export const logObject = (env: Env, buildId: string, attempt: number) => env.LOGS.getByName(`${buildId}/${attempt}`);
