/**
 * Runs a small controller in memory, over real HTTP, with the contract's schemas, for the agent's own tests.
 * A test can make it answer anything else. The end-to-end tests use the real controller.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  type ArtifactGlob,
  type Assignment,
  BuildNumberRequest,
  type BuildNumberRequest as BuildNumberRequestMessage,
  ClaimRequest,
  Heartbeat,
  type Heartbeat as HeartbeatMessage,
  Report,
  type Report as ReportMessage,
  type Timeouts,
  WorkerStatus,
  type WorkerStatus as WorkerStatusMessage,
} from '#contract';

export interface StandInBuild {
  id: string;
  attempt: number;
  status: 'queued' | 'assigned' | 'building' | 'succeeded' | 'failed' | 'cancelled';
  assignment: Omit<Assignment, 'claimId' | 'claimedAt'>;
  claimId: string | null;
  beats: HeartbeatMessage[];
  vmBeatAt: string | null;
  reports: ReportMessage[];
  log: Buffer;
  sourceBytes: Buffer;
  env: Record<string, string>;
  /** In base64, by name. */
  secretNames: string[] | undefined;
  secretFiles: Record<string, string>;
  /** The number that the build gets, or the code with which it gets none. */
  number: number | string;
  /** The requests for a number. */
  numbersAsked: BuildNumberRequestMessage[];
}

export type Interception = (
  request: { method: string; path: string; count: number; key: string },
  response: ServerResponse,
) => boolean;

export const SHORT_TIMEOUTS: Timeouts = {
  heartbeatTimeoutMs: 20_000,
  workerTimeoutMs: 20_000,
  bootTimeoutMs: 60_000,
  noOutputTimeoutMs: 60_000,
  buildTimeoutMs: 120_000,
  queueTimeoutMs: 60_000,
};

export const WORKER_ID = 'worker-1';
export const WORKER_KEY = 'tb_worker_0123456789abcdef';
const NEXT_MS = 250;

export async function standInController(port = 0) {
  const builds = new Map<string, StandInBuild>();
  const blobs = new Map<string, Buffer>();
  const statuses: WorkerStatusMessage[] = [];
  const requests: { method: string; path: string; key: string }[] = [];
  const counts = new Map<string, number>();
  /** Returns true if it has dealt with the request. */
  let intercept: Interception = () => false;
  let followers = 0;
  let isOfFormerRelease = false;
  let beatNextMs = NEXT_MS;

  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, 'http://controller');
    const path = url.pathname;
    const key = (request.headers.authorization ?? `Bearer ${request.headers['x-api-key']}`).replace('Bearer ', '');
    requests.push({ method: request.method!, path, key });
    const counted = `${request.method} ${path}`;
    counts.set(counted, (counts.get(counted) ?? 0) + 1);
    if (intercept({ method: request.method!, path, count: counts.get(counted)!, key }, response))
      return void request.resume();
    try {
      const body = await bodyOf(request);
      answer(response, ...(await route(request.method!, url, body, key)));
    } catch (error) {
      answer(response, 400, { error: { code: 'invalid_request', message: String(error) } });
    }
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));

  const refuse = (status: number, code: string, rest: object = {}): [number, object] => [
    status,
    { error: { code, message: `${code} by the stand-in` }, ...rest },
  ];

  async function route(method: string, url: URL, body: Buffer, key: string): Promise<[number, unknown]> {
    const json = () => JSON.parse(body.toString('utf8'));
    const [, api, kind, id, what, file] = url.pathname.split('/');
    const now = new Date().toISOString();
    if (api === 'health') return [200, { status: 'ok', time: now }];
    if (kind === 'me') {
      if (key !== WORKER_KEY) return refuse(401, 'unauthorized');
      return [200, { scope: 'worker', name: 'test', workerId: WORKER_ID }];
    }
    if (kind === 'blobs') return store(id!, body);
    if (kind === 'workers') return routeWorker(what!, json);
    const build = builds.get(id!);
    if (!build) return refuse(404, 'not_found');
    const ended = ['succeeded', 'failed', 'cancelled'].includes(build.status);
    if (what === 'heartbeat') {
      const beat = Heartbeat.parse(json());
      if (ended) return refuse(410, 'attempt_ended', { action: 'stop' });
      if (beat.attempt !== undefined && beat.attempt !== build.attempt)
        return refuse(409, 'stale_attempt', { action: 'stop' });
      build.beats.push(beat);
      if (beat.source !== 'agent') build.vmBeatAt = now;
      return [200, { status: 'ok', timestamp: now, action: 'continue', nextMs: beatNextMs, vmBeatAt: build.vmBeatAt }];
    }
    if (what === 'inputs')
      return [200, { env: build.env, secretNames: build.secretNames, secretFiles: build.secretFiles }];
    if (what === 'number') {
      const asked = BuildNumberRequest.parse(json());
      build.numbersAsked.push(asked);
      if (typeof build.number === 'string') return refuse(422, build.number);
      return [200, { appId: asked.app.id, buildNumber: build.number }];
    }
    if (what === 'source') return [200, build.sourceBytes];
    if (what === 'logs') {
      const offset = Number(url.searchParams.get('offset'));
      if (offset > build.log.length) return refuse(416, 'wrong_offset', { expectedOffset: build.log.length });
      const fresh = body.subarray(build.log.length - offset);
      build.log = Buffer.concat([build.log, fresh]);
      return [200, { length: build.log.length, followers }];
    }
    if (what === 'blobs' && !isOfFormerRelease) {
      if (method === 'PUT') return store(file!, body);
      const size = blobs.get(file!)?.length;
      return size === undefined ? refuse(409, 'artifact_not_stored') : [200, { sha256: file, size, existed: true }];
    }
    if (what === 'reports') return report(build, Report.parse(json()), ended);
    return refuse(404, 'not_found');
  }

  function store(sha256: string, body: Buffer): [number, unknown] {
    if (createHash('sha256').update(body).digest('hex') !== sha256) return refuse(400, 'hash_mismatch');
    const existed = blobs.has(sha256);
    blobs.set(sha256, body);
    return [200, { sha256, size: body.length, existed }];
  }

  function report(build: StandInBuild, message: ReportMessage, ended: boolean): [number, unknown] {
    if (
      message.type === 'evidence' ||
      (ended && build.reports.some((one) => JSON.stringify(one) === JSON.stringify(message)))
    ) {
      if (message.type === 'evidence') build.reports.push(message);
      return [200, { status: build.status, attempt: build.attempt }];
    }
    if (ended) return refuse(410, 'attempt_ended');
    if (message.attempt !== build.attempt) return refuse(409, 'stale_attempt');
    const listed = message.type === 'succeed' || message.type === 'fail' ? message.artifacts : [];
    if (listed.some(({ sha256 }) => !blobs.has(sha256))) return refuse(409, 'artifact_not_stored');
    build.reports.push(message);
    build.status = message.type === 'start' ? 'building' : message.type === 'succeed' ? 'succeeded' : 'failed';
    return [200, { status: build.status, attempt: build.attempt }];
  }

  function routeWorker(what: string, json: () => unknown): [number, unknown] {
    const active = [...builds.values()].filter(({ status }) => status === 'assigned' || status === 'building');
    const claimedAt = new Date().toISOString();
    if (what === 'status') {
      statuses.push(WorkerStatus.parse(json()));
      return [200, { state: active.length > 0 ? 'busy' : 'idle', nextMs: 1_000 }];
    }
    if (what === 'attempts') {
      const attempts = active.map(({ id, attempt, claimId, status }) => ({
        buildId: id,
        attempt,
        claimId: claimId!,
        status,
        claimedAt,
        deadlines: [],
      }));
      return [200, { attempts }];
    }
    const { claimId } = ClaimRequest.parse(json());
    const known = [...builds.values()].find((build) => build.claimId === claimId);
    if (known && !active.includes(known))
      return [200, { assignment: null, nextMs: NEXT_MS, reason: 'it has ended', claimIsOver: true }];
    const build = known ?? [...builds.values()].find(({ status }) => status === 'queued');
    if (!build) return [200, { assignment: null, nextMs: NEXT_MS, reason: null }];
    if (!known) Object.assign(build, { status: 'assigned', attempt: build.attempt + 1, claimId });
    build.assignment.attempt = build.attempt;
    return [200, { assignment: { ...build.assignment, claimId, claimedAt }, nextMs: NEXT_MS, reason: null }];
  }

  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    port: (server.address() as { port: number }).port,
    builds,
    blobs,
    statuses,
    requests,
    /** A controller of the former release stores files for workers alone. */
    set formerRelease(is: boolean) {
      isOfFormerRelease = is;
    },
    set intercept(next: Interception) {
      intercept = next;
    },
    /** The pace that answers to beats give. */
    set beatNextMs(next: number) {
      beatNextMs = next;
    },
    set followers(next: number) {
      followers = next;
    },
    submit(options: {
      id: string;
      command?: string;
      assigned?: Partial<
        Pick<Assignment, 'platform' | 'profile' | 'projectRoot' | 'image' | 'imageIdentity' | 'app' | 'origin'>
      >;
      number?: number | string;
      source: Buffer;
      artifactGlobs?: ArtifactGlob[];
      timeouts?: Partial<Timeouts>;
      env?: Record<string, string>;
      secretNames?: string[];
      secretFiles?: Record<string, string>;
      anotherAttemptPossible?: boolean;
    }): StandInBuild {
      const {
        id,
        command = 'exit 99',
        assigned = {},
        number = 42,
        source,
        artifactGlobs = [],
        timeouts,
        env = {},
        secretNames,
        secretFiles = {},
      } = options;
      const { anotherAttemptPossible = false } = options;
      const sha256 = createHash('sha256').update(source).digest('hex');
      const build: StandInBuild = {
        id,
        attempt: 0,
        status: 'queued',
        claimId: null,
        beats: [],
        vmBeatAt: null,
        reports: [],
        log: Buffer.alloc(0),
        sourceBytes: source,
        env,
        secretNames,
        secretFiles,
        number,
        numbersAsked: [],
        assignment: {
          buildId: id,
          attempt: 1,
          workerId: WORKER_ID,
          platform: 'ios',
          command,
          source: { sha256, size: source.length },
          artifactGlobs,
          timeouts: { ...SHORT_TIMEOUTS, ...timeouts },
          anotherAttemptPossible,
          beatIntervalMs: 1_000,
          nextMs: NEXT_MS,
          tokens: { vm: `tb_vm_${id}`, run: `tb_run_${id}` },
          ...assigned,
        },
      };
      builds.set(id, build);
      return build;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (Buffer.isBuffer(body)) return void response.writeHead(status).end(body);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
