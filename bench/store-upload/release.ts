/** Makes a build that has succeeded with apps, by the API: as a submitter asks and as an agent reports. */
import { type ArtifactApp, type BuildRequestInput, DAY_MS } from '#contract';
import { AdminClient } from '../../client/admin-client.ts';
import { valueOrThrow } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { type LocalFile, placeOfAttempt } from '../../client/blob-requests.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { uploadBlob } from '../../client/upload.ts';
import { WorkerClient } from '../../client/worker-client.ts';

export const PROJECT = 'bench';
export const POOL = 'bench';
export const APP = 'com.example.bench';
export const VERSION = '1.0.0';

const WAIT_MS = 600_000;
const PATIENT = { requestMs: WAIT_MS, transferStallMs: WAIT_MS };

/** For a build whose parts may take long to arrive. */
const TIMEOUTS = {
  heartbeatTimeoutMs: DAY_MS,
  workerTimeoutMs: DAY_MS,
  bootTimeoutMs: DAY_MS,
} satisfies BuildRequestInput['timeouts'];

type Platform = ArtifactApp['platform'];

export interface Releases {
  /** Resolves with the id of the build. {@link artifactName} names its artifacts, one for each number. */
  make(platform: Platform, file: LocalFile, numbers: readonly number[]): Promise<string>;
}

export const artifactName = (platform: Platform, number: number): string =>
  `app-${number}.${platform === 'ios' ? 'ipa' : 'aab'}`;

/** @param source a small file, which is the source of all builds */
export async function releasesBy(url: string, adminKey: string, source: LocalFile): Promise<Releases> {
  const connection = new Connection({ url, key: adminKey, ...PATIENT });
  const { worker, key } = await new AdminClient(connection).registerWorker({ name: 'bench', pool: POOL });
  const [builds, agent] = [new BuildsClient(connection), new WorkerClient(connection.withKey(key))];
  await builds.upload(source);
  return {
    async make(platform, file, numbers) {
      const request = { project: PROJECT, pool: POOL, platform, command: 'true', timeouts: TIMEOUTS };
      const { id } = await builds.submit({ source: { sha256: source.sha256 }, ...request });
      const claim = await agent.claim(worker.id, { instanceId: 'bench', claimId: id });
      const { assignment } = valueOrThrow(claim, 'the claim');
      if (assignment?.buildId !== id) throw new Error(`build ${id} could not be claimed`);
      const run = connection.withKey(assignment.tokens.run);
      const [attempt, signal] = [new AttemptClient(run), AbortSignal.timeout(WAIT_MS)];
      valueOrThrow(await attempt.report(id, { type: 'start', attempt: 1 }), 'the start');
      const place = placeOfAttempt(id);
      valueOrThrow(
        await uploadBlob(run, file, { place, signal, giveUpAfterMs: WAIT_MS }),
        'the upload of the artifact',
      );
      const artifacts = numbers.map((number) => ({
        ...{ name: artifactName(platform, number), sha256: file.sha256, size: file.sizeBytes },
        app: appOf(platform, number),
      }));
      const { status } = valueOrThrow(await attempt.report(id, { type: 'succeed', attempt: 1, artifacts }), 'the end');
      if (status !== 'succeeded') throw new Error(`build ${id} is ${status}`);
      return id;
    },
  };
}

const appOf = (platform: Platform, number: number): ArtifactApp => ({
  ...{ platform, id: APP, name: 'Bench', version: VERSION, buildNumber: String(number), icon: null },
  ...(platform === 'ios'
    ? { kind: 'ipa', signing: 'app-store', minimumSystem: '15.1', usesNonExemptEncryption: false, debuggable: null }
    : { kind: 'aab', signing: 'release', minimumSystem: '24', usesNonExemptEncryption: null, debuggable: false }),
  ...{ profileExpiresAt: null, devices: null },
});
