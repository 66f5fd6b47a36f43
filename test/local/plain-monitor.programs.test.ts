import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Assignment, BuildDetail } from '#contract';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { packSource } from '../../client/packing/pack-source.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { type LocalController, startController } from '../../local/farm/controller.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { SAMPLE_DIR, sampleRequest } from '../../local/farm/sample.ts';
import { PLAIN_MONITOR, start } from '../vm-image/factories/guest-script.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { until } from '../worker-agent/factories/until.ts';

const HEARTBEAT_TIMEOUT_MS = 8_000;
const PATIENCE_MS = 90_000;
/** A controller that is asked more often has less time for its beats. */
const POLL_MS = 250;

const folder = temporaryDir();
let controller: LocalController;
beforeAll(async () => {
  const entry = join(PROJECT_ROOT, 'test/faults/factories/controller.ts');
  controller = await startController({ stateDir: join(folder.path, 'controller'), entry });
});
afterAll(async () => {
  await controller?.stop();
  folder[Symbol.dispose]();
});

/** A build that a worker has claimed; the worker itself beats all the time. */
async function claimedBuild({ url, secrets }: LocalController, dir: string) {
  const admin = new Connection({ url, key: secrets.ADMIN_KEY });
  const api = new BuildsClient(admin);
  const name = `mac-${randomUUID()}`;
  const { worker, key } = await new AdminClient(admin).registerWorker({ name, pool: name });
  const archive = await packSource(SAMPLE_DIR, join(dir, `${name}.tar.gz`));
  await api.upload(archive);
  const rest = { workerTimeoutMs: 600_000, bootTimeoutMs: 600_000, noOutputTimeoutMs: 600_000 };
  const timeouts = { ...rest, heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS };
  await api.submit({ ...sampleRequest(), pool: name, timeouts, source: { sha256: archive.sha256 } });
  const connection = new Connection({ url, key });
  const claimed = await new WorkerClient(connection).claim(worker.id, {
    instanceId: randomUUID(),
    claimId: randomUUID(),
  });
  if (!claimed.ok || !claimed.value.assignment) throw new Error(`nothing was claimed: ${JSON.stringify(claimed)}`);
  const { assignment } = claimed.value;
  const agentBeats = () =>
    new AttemptClient(connection).heartbeat(assignment.buildId, worker.id, {
      source: 'agent',
      attempt: assignment.attempt,
      stage: 'checking',
    });
  const beating = setInterval(() => void agentBeats(), 1_000);
  return { api, workerKey: key, assignment, [Symbol.dispose]: () => clearInterval(beating) };
}

test.concurrent.each<[string, (workerKey: string, assignment: Assignment) => string]>([
  ["a worker's key", (workerKey) => workerKey],
  ['the token of the VM', (_, { tokens }) => tokens.vm],
])(
  'a plain loop of curl with %s keeps a build alive, and its end is vm_silent',
  { timeout: 300_000 },
  async (_, keyOf) => {
    using claimed = await claimedBuild(controller, folder.path);
    const { api, workerKey, assignment } = claimed;
    const { buildId, workerId } = assignment;
    const args = [controller.url, buildId, workerId, keyOf(workerKey, assignment), '0.5'];
    await using monitor = start('dash', PLAIN_MONITOR, args, {});

    const beats = ({ live }: BuildDetail) => (live?.vmBeatAt ? Date.parse(live.vmBeatAt) : 0);
    const beat = async () => beats(await api.build(buildId));
    const first = await until(beat, 'the first beat is seen', PATIENCE_MS, POLL_MS);
    const aliveAt = (ms: number) => async () => {
      const build = await api.build(buildId);
      expect(build.endedAt, `it ended: ${build.verdict?.code}`).toBeNull();
      return beats(build) - first > ms;
    };
    await until(aliveAt(2 * HEARTBEAT_TIMEOUT_MS), 'it lives for two timeouts', PATIENCE_MS, POLL_MS);
    expect(monitor.lines()[0]).toMatch(/^200 \{"status":"ok",/);
    expect((await api.build(buildId)).live?.progress).toMatchObject({ percent: 5 });

    process.kill(-monitor.pid, 'SIGKILL');
    const ended = await until(
      async () => {
        const build = await api.build(buildId);
        return build.endedAt === null ? null : build;
      },
      'silence becomes a verdict',
      PATIENCE_MS,
      POLL_MS,
    );
    expect(ended.verdict).toMatchObject({ code: 'vm_silent' });
    expect(ended.attempts[0]!.latenessMs).toBeGreaterThanOrEqual(0);
  },
);
