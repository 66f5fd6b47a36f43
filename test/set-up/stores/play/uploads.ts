/** Takes resumable uploads of Google Play's stand-in. It keeps whole blocks of 256 KiB, as Google does. */
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Edit } from './apps.ts';
import type { PlayFile } from './control.ts';
import { Refused } from './refusals.ts';

const BLOCK_BYTES = 256 * 1024;

const wrong = (what: string) => new Refused(400, { error: { code: 400, message: what } });

export class Upload {
  readonly id = `ABPnzm${randomBytes(60).toString('base64url')}`;
  readonly edit: Edit;
  readonly kind: PlayFile['kind'];
  readonly #total: number;
  readonly #hash = createHash('sha256');
  readonly #violations: string[];
  #received = 0;
  /** Lets one request wait for the other, also if the client has given up the former one. */
  #turn: Promise<unknown> = Promise.resolve();
  #answer: object | null = null;
  forgotten = false;

  constructor(edit: Edit, kind: PlayFile['kind'], total: number, violations: string[]) {
    this.edit = edit;
    this.kind = kind;
    this.#total = total;
    this.#violations = violations;
  }

  /**
   * Takes a part of the file, or none if the request only asks. `cutAfter`: the connection ends after so many
   * of its bytes. Answers the finished file, or how far the upload is.
   */
  async put(request: IncomingMessage, damaged: boolean, cutAfter: number | null): Promise<object | number> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    try {
      return await this.#put(request, damaged, cutAfter);
    } finally {
      resolve();
    }
  }

  async #put(request: IncomingMessage, damaged: boolean, cutAfter: number | null): Promise<object | number> {
    if (this.forgotten) throw new Refused(404, { error: { code: 404, message: 'Not Found' } });
    if (this.#answer) return this.#answer;
    const { 'content-range': range = '', 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    const [, first, last, total] = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/.exec(range) ?? [];
    if (total === undefined || Number(total) !== this.#total) throw this.#wrong(`Content-Range: ${range}`);
    if (first !== undefined && last !== undefined) {
      const size = Number(last) - Number(first) + 1;
      if (encoding !== undefined || Number(length) !== size) throw this.#wrong(`length ${length} of ${range}`);
      if (Number(first) !== this.#received) throw this.#wrong(`${range} comes after ${this.#received} bytes`);
      if (Number(last) + 1 !== this.#total && size % BLOCK_BYTES !== 0) throw this.#wrong(`no whole blocks: ${range}`);
      if (!(await this.#take(request, size, cutAfter))) return this.#received;
    }
    if (this.#received < this.#total) return this.#received;
    const sha256 = this.#hash.digest('hex');
    try {
      const { app } = this.edit;
      const kept = damaged ? createHash('sha256').update(sha256).digest('hex') : sha256;
      this.#answer = app.upload(app.usable(this.edit), this.kind, sha256, kept);
      return this.#answer;
    } catch (error) {
      this.forgotten = true;
      throw error;
    }
  }

  /** False: the connection ended before all bytes had come. */
  async #take(request: IncomingMessage, size: number, cutAfter: number | null): Promise<boolean> {
    let held: Buffer = Buffer.alloc(0);
    let left = size;
    try {
      for await (const bytes of request as AsyncIterable<Buffer>) {
        held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
        left -= bytes.length;
        const whole = left === 0 ? held.length : held.length - (held.length % BLOCK_BYTES);
        this.#hash.update(held.subarray(0, whole));
        this.#received += whole;
        held = held.subarray(whole);
        if (cutAfter !== null && left > 0 && size - left >= cutAfter) request.socket.destroy();
      }
    } catch {
      return false;
    }
    return left === 0;
  }

  #wrong(what: string): Refused {
    this.#violations.push(what);
    return wrong(what);
  }
}
