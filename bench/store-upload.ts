/**
 * Measures submissions of a large app: from R2 in a real workerd, by the object of each submission, to the
 * stand-ins of App Store Connect and Google Play, beside a plain stream of the same bytes. Each runs twice,
 * in both orders, and each time in a new process.
 *
 *   npm run bench:store-upload -- [--size 1024] [--part 8]      in MiB; parts are of App Store Connect alone
 *
 * Needs five times the size on the disk. Exit code: 0 if all bytes arrived and no invocation made more than
 * 30 subrequests, 1 if not.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Submission, SubmissionDetail, type SubmitOptions } from '#contract';
import type { LocalFile } from '../client/blob-requests.ts';
import { type StoreAddresses, SUBREQUESTS_MAX } from '../controller/stores/step.ts';
import { type ControllerOptions, randomSecrets, startController } from '../local/farm/controller.ts';
import { endProcessesBelow, FOLDER_MARK } from '../local/farm/leftovers.ts';
import { startAppStore } from '../test/set-up/stores/app-store/server.ts';
import { listening } from '../test/set-up/stores/odd-server.ts';
import { startPlay } from '../test/set-up/stores/play/server.ts';
import type { Figures } from './store-upload/figures.ts';
import { APP, artifactName, POOL, PROJECT, releasesBy } from './store-upload/release.ts';
import { peakMib, workerdBelow } from './usage.ts';

const MIB = 1024 * 1024;
const SUBMISSION_MAX_MS = 30 * 60_000;
const LOOK_MS = 250;
/** Each look at a submission uses memory of the Worker too, so they are few. */
const SUBMISSION_LOOK_MS = 5_000;
const WAYS = ['plain stream', 'app-store-connect', 'google-play'] as const;
type Way = (typeof WAYS)[number];

const { values } = parseArgs({
  options: { size: { type: 'string', default: '1024' }, part: { type: 'string', default: '8' } },
});
const [sizeMib, partMib] = [Number(values.size), Number(values.part)];

async function randomFile(path: string, mib: number): Promise<LocalFile> {
  const [hash, file] = [createHash('sha256'), createWriteStream(path)];
  for (let done = 0; done < mib; done++) {
    const bytes = randomBytes(MIB);
    hash.update(bytes);
    if (!file.write(bytes)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
  return { path, sizeBytes: mib * MIB, sha256: hash.digest('hex') };
}

const dir = await realpath(await mkdtemp(join(tmpdir(), 'tartbeat-store-upload-')));
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    endProcessesBelow(dir);
    process.exit(130);
  });
/** Takes the bytes of the plain stream and writes them to a file, as App Store Connect's stand-in does. */
const sink = await listening(
  createServer(async (request, response) => {
    await pipeline(request, createWriteStream(join(dir, 'plain')));
    response.end();
  }),
);
/** Plays R2 for the app's bytes that an upload reads. */
const files = await listening(
  createServer(async (request, response) => {
    const [start, end] = /^bytes=(\d+)-(\d+)$/
      .exec(request.headers.range ?? '')
      ?.slice(1)
      .map(Number) ?? [0];
    const length = (end ?? sizeMib * MIB - 1) - start! + 1;
    response.writeHead(end === undefined ? 200 : 206, { 'Content-Length': length });
    await pipeline(createReadStream(join(dir, 'app'), { start, end: start! + length - 1 }), response).catch(() => {});
  }),
);
const [apple, play] = [await startAppStore(), await startPlay()];
try {
  const stores: StoreAddresses = {
    ...{ appStoreConnect: apple.url, googleToken: play.tokenUrl, googlePlay: play.url, insecure: true },
    uploadHosts: { apple: ['127.0.0.1'], google: ['127.0.0.1'] },
  };
  const secrets = randomSecrets();
  const options: ControllerOptions = {
    ...{ stateDir: join(dir, 'controller'), entry: 'bench/store-upload/worker.ts', env: { [FOLDER_MARK]: dir } },
    ...{ secrets, vars: { STAND_INS: JSON.stringify(stores), FILES: files.url } },
  };
  let worker = await startController(options);
  await using _stopped = { [Symbol.asyncDispose]: () => worker.stop() };
  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const response = await fetch(`${worker.url}${path}`, {
      ...{ method, headers: { 'X-API-Key': secrets.ADMIN_KEY, 'Content-Type': 'application/json' } },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${await response.text()}`);
    return response.json();
  };

  await ask('POST', '/api/projects', { name: PROJECT });
  const releases = await releasesBy(worker.url, secrets.ADMIN_KEY, await randomFile(join(dir, 'source'), 1));
  const appleKey = await apple.account();
  const ascAppId = await apple.app(appleKey.keyId, { bundleId: APP, partBytes: partMib * MIB });
  const serviceAccount = await play.account('robot@bench.iam.gserviceaccount.com', { apps: [APP] });
  await play.app(APP);
  const { keyId, issuerId, privateKey } = appleKey;
  const use = { apps: [APP], pools: [POOL] };
  const keys = `/api/projects/${PROJECT}/store-keys`;
  await ask('PUT', `${keys}/apple`, { store: 'app-store-connect', keyId, issuerId, privateKey, ...use });
  await ask('PUT', `${keys}/play`, { store: 'google-play', serviceAccount, ...use });

  const file = await randomFile(join(dir, 'app'), sizeMib);
  const builds = {
    'app-store-connect': await releases.make('ios', file, [1, 2]),
    'google-play': await releases.make('android', file, [1, 2]),
  };

  const submit = async (store: SubmitOptions['store'], number: number): Promise<void> => {
    if (store === 'google-play') await play.file(APP, file.sha256, number);
    const artifact = artifactName(store === 'google-play' ? 'android' : 'ios', number);
    const made = await ask('POST', `/api/builds/${builds[store]}/submissions`, { store, artifact });
    const { id } = Submission.parse(made);
    for (
      const giveUpAt = performance.now() + SUBMISSION_MAX_MS;
      performance.now() < giveUpAt;
      await sleep(SUBMISSION_LOOK_MS)
    ) {
      const { state, failure, timeline } = SubmissionDetail.parse(await ask('GET', `/api/submissions/${id}`));
      if (state === 'done') return;
      if (failure) throw new Error(`${store}: ${failure.code}: ${JSON.stringify(timeline)}`);
    }
    throw new Error(`the submission to ${store} did not end`);
  };

  console.log(`${cpus().length} CPUs (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}`);
  console.log(`${sizeMib} MiB, to App Store Connect in parts of ${partMib} MiB.\n`);
  console.log('| run | way | MiB/s | workerd before, MiB | peak MiB | invocations | subrequests, at most |');
  console.log('|---|---|---|---|---|---|---|');
  const tookMs = Object.fromEntries(WAYS.map((way) => [way, 0])) as Record<Way, number>;
  let subrequestsMax = 0;
  const run = async (number: number, way: Way): Promise<void> => {
    // A new process, whose memory no other run has used.
    await worker.stop();
    worker = await startController({ ...options, migrated: true });
    await ask('GET', keys);
    const workerd = workerdBelow(dir);
    const [, beforeMib] = await peakMib(workerd, () => sleep(LOOK_MS));
    const beganAt = performance.now();
    const to = `/bench/plain?sha256=${file.sha256}&to=${encodeURIComponent(sink.url)}`;
    const [, mib] = await peakMib(workerd, async () => {
      if (way !== 'plain stream') return submit(way, number);
      const answer = await fetch(`${worker.url}${to}`);
      if (!answer.ok) throw new Error(`the plain stream was answered ${answer.status}`);
    });
    const plainMs = performance.now() - beganAt;
    const figures = (await ask('GET', '/bench/figures')) as Figures;
    const isPlain = way === 'plain stream';
    const ms = isPlain ? plainMs : figures.sendingMs;
    tookMs[way] += ms;
    subrequestsMax = Math.max(subrequestsMax, figures.subrequestsMax);
    const counts = isPlain ? '| |' : `| ${figures.invocations} | ${figures.subrequestsMax} |`;
    console.log(`| ${number} | ${way} | ${((sizeMib * 1_000) / ms).toFixed(1)} | ${beforeMib} | ${mib} ${counts}`);
  };
  for (const way of WAYS) await run(1, way);
  for (const way of WAYS.toReversed()) await run(2, way);

  const { uploads } = await apple.state(ascAppId);
  const { library } = await play.state(APP);
  const arrived = [...uploads, ...library].filter(({ sha256 }) => sha256 === file.sha256).length;
  const violations = [...(await apple.violations()), ...(await play.violations())];
  const isEqual = arrived === 4 && violations.length === 0;
  console.log(`\nbytes: ${isEqual ? 'equal by hash, four times' : `DIFFERENT ${violations.join('; ')}`}`);
  console.log(`subrequests of an invocation: ${subrequestsMax} at most, ${SUBREQUESTS_MAX} are allowed`);
  for (const way of WAYS.slice(1))
    console.log(`${way}: ${(tookMs[way] / tookMs['plain stream']).toFixed(2)} × the time of the plain stream`);
  console.log(`load at the end: ${loadavg()[0]!.toFixed(1)}`);
  process.exitCode = isEqual && subrequestsMax <= SUBREQUESTS_MAX ? 0 : 1;
} finally {
  await Promise.all([apple.stop(), play.stop(), sink.stop(), files.stop()]);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}
