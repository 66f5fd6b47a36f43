/**
 * Serves bench/store-upload.ts: the deployed controller, except that the stores are the stand-ins whose
 * addresses are in the variable STAND_INS. The bytes that an upload reads from R2 come from the address in
 * FILES. So the memory of this process is that of the Worker, without that of a local R2. It counts the
 * subrequests of each invocation of a submission, independently of the controller's own count, and streams a
 * stored file to an address without steps.
 */
import { env as bindings } from 'cloudflare:workers';
import { createController, StoreUpload as RealStoreUpload } from '../../controller/index.ts';
import { SETTINGS } from '../../controller/settings.ts';
import type { StoreAddresses } from '../../controller/stores/step.ts';
import { begin, type Usage, withPlatformLimits } from '../../test/controller/factories/platform-limits.ts';
import type { Figures } from './figures.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../../controller/index.ts';

const { STAND_INS, FILES } = bindings as unknown as Record<'STAND_INS' | 'FILES', string>;
const stores = JSON.parse(STAND_INS) as StoreAddresses;
const controller = createController({ ...SETTINGS, stores });

const figures: Figures = { invocations: 0, subrequestsMax: 0, sendingMs: 0 };
let requests = 0;
let firstAt: number | null = null;

/** Only one submission runs at a time, so every request during its alarm is one of its own. */
const real = globalThis.fetch;
globalThis.fetch = async (...given) => {
  requests += 1;
  const isPart = given[1]?.body instanceof ReadableStream;
  if (isPart) firstAt ??= Date.now();
  const answer = await real(...given);
  if (isPart && firstAt !== null) figures.sendingMs = Date.now() - firstAt;
  return answer;
};

/** The part of R2 that an upload uses: bytes of an object, as a stream. */
const outside = {
  async get(key: string, { range }: { range?: { offset: number; length: number } } = {}) {
    const headers = range && { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
    const { body } = await real(`${FILES}/${key}`, headers ? { headers } : {});
    return { body };
  },
} as R2Bucket;

export class StoreUpload extends RealStoreUpload {
  protected override addresses = stores;
  readonly #usage: Usage;

  constructor(state: DurableObjectState, env: Env) {
    const usage = begin('StoreUpload');
    super(state, withPlatformLimits({ ...env, BLOBS: outside }, usage, Number.POSITIVE_INFINITY));
    this.#usage = usage;
  }

  override async alarm(): Promise<void> {
    const before = this.#asked();
    await super.alarm();
    figures.invocations += 1;
    figures.subrequestsMax = Math.max(figures.subrequestsMax, this.#asked() - before);
  }

  #asked(): number {
    return requests + this.#usage.statements + this.#usage.objects;
  }
}

export default {
  async fetch(request, env, context) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/bench/figures') return Response.json(figures);
    if (pathname !== '/bench/plain') return controller.fetch!(request, env, context);
    const find = env.DB.prepare('SELECT r2_key FROM blobs WHERE sha256 = ?').bind(searchParams.get('sha256'));
    const object = await outside.get((await find.first<string>('r2_key'))!);
    return real(searchParams.get('to')!, { method: 'PUT', body: object!.body });
  },
} satisfies ExportedHandler<Env>;
