/**
 * Measures the upload of a large .ipa to App Store Connect, from R2 in a real workerd to the stand-in, beside
 * a plain stream of the same bytes in the same run.
 *
 *   npm run bench:store-upload -- [--size 1024] [--part 8]      in MiB
 *
 * Exit code: 0 if all bytes arrived and no invocation made more than 30 subrequests, 1 if not.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { SUBREQUESTS_MAX } from '../controller/stores/step.ts';
import { startController } from '../local/farm/controller.ts';
import { endProcessesBelow, FOLDER_MARK } from '../local/farm/leftovers.ts';
import { startAppStore } from '../test/set-up/stores/app-store/server.ts';
import { listening } from '../test/set-up/stores/odd-server.ts';
import type { StepAnswered, StepAsked } from './store-upload/step.ts';
import { peakMib, workerdBelow } from './usage.ts';

const MIB = 1024 * 1024;
const INVOCATIONS_MAX = 10_000;

const { values } = parseArgs({
  options: { size: { type: 'string', default: '1024' }, part: { type: 'string', default: '8' } },
});
const [sizeMib, partMib] = [Number(values.size), Number(values.part)];

/** Takes bytes and writes them to a file, as the stand-in of the store does. */
const sink = () =>
  listening(
    createServer(async (request, response) => {
      await pipeline(request, createWriteStream(join(dir, 'plain')));
      response.end();
    }),
  );

async function* randomFile(hash: ReturnType<typeof createHash>) {
  for (let done = 0; done < sizeMib; done++) {
    const bytes = randomBytes(MIB);
    hash.update(bytes);
    yield bytes;
  }
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const began = performance.now();
  return [await work(), performance.now() - began];
}

const dir = await realpath(await mkdtemp(join(tmpdir(), 'tartbeat-store-upload-')));
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    endProcessesBelow(dir);
    process.exit(130);
  });
const [store, plainSink] = [await startAppStore(), await sink()];
try {
  await using worker = await startController({
    ...{ stateDir: join(dir, 'controller'), entry: 'bench/store-upload/worker.ts', env: { [FOLDER_MARK]: dir } },
  });
  const workerd = workerdBelow(dir);
  const hash = createHash('sha256');
  const body = Readable.toWeb(Readable.from(randomFile(hash))) as ReadableStream;
  const stored = await fetch(`${worker.url}/file`, {
    ...{ method: 'PUT', body, duplex: 'half', headers: { 'Content-Length': String(sizeMib * MIB) } },
  } as RequestInit);
  if (!stored.ok) throw new Error(`R2 did not take the file: ${stored.status}`);
  const sha256 = hash.digest('hex');
  const [, beforeMib] = await peakMib(workerd, async () => {});

  const [[plain, plainMib], plainMs] = await timed(() =>
    peakMib(workerd, () => fetch(`${worker.url}/plain?to=${encodeURIComponent(plainSink.url)}`)),
  );
  if (!plain.ok) throw new Error(`the plain stream was answered ${plain.status}`);

  const key = await store.account();
  const bundleId = 'com.example.bench';
  const ascAppId = await store.app(key.keyId, { bundleId, partBytes: partMib * MIB });
  const app = { id: bundleId, version: '1.0.0', buildNumber: '1', usesNonExemptEncryption: false };
  const context: StepAsked['context'] = {
    artifact: { name: 'app.ipa', kind: 'ipa', size: sizeMib * MIB, sha256, app },
    options: { store: 'app-store-connect', locale: 'en-US' },
    key: { store: 'app-store-connect', ...key },
    addresses: {
      ...{ appStoreConnect: store.url, googleToken: store.url, googlePlay: store.url },
      uploadHosts: { apple: ['127.0.0.1'], google: [] },
      insecure: true,
    },
    uploadBeganAt: null,
  };
  let subrequestsMax = 0;
  let invocations = 0;
  let chunksMs = 0;
  const submit = async (): Promise<string> => {
    let [step, data]: [string, StepAsked['data']] = ['find', { plain: {}, secret: {} }];
    while (invocations++ < INVOCATIONS_MAX) {
      if (step === 'chunks') context.uploadBeganAt ??= Date.now();
      const asked: StepAsked = { step, data, context };
      const [answer, tookMs] = await timed(() =>
        fetch(`${worker.url}/step`, { method: 'POST', body: JSON.stringify(asked) }),
      );
      if (step === 'chunks') chunksMs += tookMs;
      if (!answer.ok) throw new Error(`step ${step} was answered ${answer.status}: ${await answer.text()}`);
      const { result, subrequests } = (await answer.json()) as StepAnswered;
      subrequestsMax = Math.max(subrequestsMax, subrequests);
      if (result.kind === 'done') return result.says;
      if (result.kind === 'failed') throw new Error(`${result.reason}: ${result.storeWords}`);
      if (result.kind === 'retry') throw new Error(result.why);
      data = result.data;
      if (result.kind === 'next') step = result.step;
    }
    throw new Error('the upload did not end');
  };
  const [says, uploadMib] = await peakMib(workerd, submit);
  const { uploads } = await store.state(ascAppId);
  const violations = await store.violations();
  const isEqual = uploads[0]?.sha256 === sha256 && violations.length === 0;

  console.log(`${cpus().length} CPUs (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}\n`);
  console.log(`${says} ${sizeMib} MiB in chunks of ${partMib} MiB, ${invocations} invocations.`);
  console.log(`bytes: ${isEqual ? 'equal by hash' : `DIFFERENT ${violations.join('; ')}`}`);
  console.log(`subrequests of an invocation: ${subrequestsMax} at most, ${SUBREQUESTS_MAX} are allowed`);
  console.log(
    `workerd: ${beforeMib} MiB before, ${plainMib} MiB during the plain stream, ${uploadMib} MiB during the upload`,
  );
  const rate = (ms: number) => `${((sizeMib * 1_000) / ms).toFixed(1)} MiB/s`;
  console.log(`chunks ${rate(chunksMs)}, plain stream ${rate(plainMs)}: ${(chunksMs / plainMs).toFixed(2)} × its time`);
  process.exitCode = isEqual && subrequestsMax <= SUBREQUESTS_MAX ? 0 : 1;
} finally {
  await Promise.all([store.stop(), plainSink.stop()]);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}
