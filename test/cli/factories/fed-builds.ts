/** Makes builds of a real controller, whose attempts a test feeds in place of an agent. */
import { createHash, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ArtifactApp, type BuildRequestInput, KeyCreated, type ReportInput } from '#contract';
import { AdminClient } from '../../../client/admin-client.ts';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { placeOfAttempt } from '../../../client/blob-requests.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { Connection } from '../../../client/request.ts';
import { uploadBlob } from '../../../client/upload.ts';
import { WorkerClient } from '../../../client/worker-client.ts';
import { type Secrets, startController } from '../../../local/farm/controller.ts';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { sharedController } from '../../set-up/controller/shared.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

const NEVER = AbortSignal.timeout(2_000_000_000);
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

interface Options {
  /** The Worker, as a path in the repository. */
  entry: string;
  port: number;
  vars: Record<string, string>;
}

/** Starts a controller of its own. */
export async function startFeeding({ entry, port, vars = {} }: Partial<Options> = {}) {
  const folder = temporaryDir();
  const start = (atPort?: number, secrets?: Awaited<ReturnType<typeof startController>>['secrets']) =>
    startController({
      stateDir: join(folder.path, 'controller'),
      ...(entry && { entry: join(PROJECT_ROOT, entry) }),
      vars,
      ...(atPort && { port: atPort }),
      ...(secrets && { secrets, migrated: true }),
    });
  let controller = await start(port);
  const { url, secrets } = controller;
  return {
    ...feeding({ url, secrets, folder: folder.path }),

    /** Stops the controller. `comesBack` starts it at the same address with all that it had. */
    async stopController() {
      await controller.stop();
      return {
        comesBack: async () => {
          controller = await start(Number(new URL(url).port), secrets);
        },
      };
    },

    async [Symbol.asyncDispose]() {
      await controller.stop();
      folder[Symbol.dispose]();
    },
  };
}

/** Uses the controller that test files share. */
export async function sharedFeeding() {
  const { url, secrets } = await sharedController();
  const folder = temporaryDir();
  return { ...feeding({ url, secrets, folder: folder.path }), [Symbol.dispose]: folder[Symbol.dispose] };
}

function feeding({ url, secrets, folder }: { url: string; secrets: Secrets; folder: string }) {
  const admin = new Connection({ url, key: secrets.ADMIN_KEY });
  const api = new BuildsClient(admin);

  const file = (name: string, bytes: string | Uint8Array) => {
    const path = join(folder, `${name}-${randomUUID()}`);
    writeFileSync(path, bytes);
    return { path, sizeBytes: Buffer.byteLength(bytes), sha256: sha256(bytes) };
  };

  return {
    folder,
    admin,
    api,
    /** The environment of `expo-build`. */
    env: (key = secrets.ADMIN_KEY) => ({ EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key }),

    /** Asks as an admin. Rejects unless it succeeds. */
    async ask(method: string, path: string, json: object): Promise<void> {
      const headers = { authorization: `Bearer ${secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
      const answer = await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(json) });
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    },

    async newKey() {
      const json = { name: `key-${randomUUID()}`, scope: 'submit' };
      const made = await admin.ask({ method: 'POST', path: '/api/keys', answer: KeyCreated, json });
      const revoke = () =>
        fetch(`${url}/api/keys/${made.key.id}?keep=1`, {
          method: 'DELETE',
          headers: { authorization: `Bearer ${secrets.ADMIN_KEY}` },
        });
      return { secret: made.secret, revoke };
    },

    /** A worker, whose claims the test makes. */
    async newWorker(pool = `pool-${randomUUID()}`) {
      const { worker, key } = await new AdminClient(admin).registerWorker({
        ...{ name: `mac-${randomUUID()}`, pool },
        ...{ platforms: ['ios', 'android'] },
      });
      const claims = async (id: string) => {
        const client = new WorkerClient(new Connection({ url, key }));
        const claimed = await client.claim(worker.id, { instanceId: 'instance', claimId: randomUUID() });
        if (!claimed.ok || !claimed.value.assignment)
          throw new Error(`nothing was claimed: ${JSON.stringify(claimed)}`);
        const { attempt, tokens } = claimed.value.assignment;
        return fed(id, worker.id, attempt, admin.withKey(tokens.run));
      };
      return { pool, claims };
    },

    async queuedBuild(request: Partial<BuildRequestInput> = {}) {
      const { pool, claims } = await this.newWorker(request.pool);
      const source = file('source', `source ${pool}`);
      await api.upload(source);
      const { id } = await api.submit({
        ...{ platform: 'ios', command: './build.sh', artifacts: ['dist/*'], pool },
        ...request,
        source: { sha256: source.sha256 },
      } as BuildRequestInput);
      return { id, claims: () => claims(id) };
    },

    /** A build whose attempt has started, and has printed `text` if there is any. */
    async runningBuild(text = '') {
      const { id, claims } = await this.queuedBuild();
      const attempt = await claims();
      await attempt.starts();
      if (text !== '') await attempt.prints(text);
      return { id, ...attempt };
    },
  };

  function fed(id: string, workerId: string, attempt: number, connection: Connection) {
    const client = new AttemptClient(connection);
    let printed = Buffer.alloc(0);
    const log = () => ({ length: printed.length, sha256: sha256(printed) });
    const report = async (json: ReportInput) => {
      const answer = await client.report(id, json);
      if (!answer.ok) throw new Error(JSON.stringify(answer));
    };
    return {
      attempt,
      starts: () => report({ type: 'start', attempt }),
      async prints(text: string | Uint8Array) {
        const bytes = new Uint8Array(Buffer.from(text as string));
        const answer = await client.appendLog(id, { attempt, offset: printed.length, bytes });
        if (!answer.ok) throw new Error(JSON.stringify(answer));
        printed = Buffer.concat([printed, bytes]);
        return answer.value.followers;
      },
      async beats(beat: { progress?: number; phase?: string; etaMs?: number; stage?: 'booting' | 'building' } = {}) {
        for (const source of ['agent', 'vm'] as const) {
          const json = { stage: 'building' as const, ...beat, source, attempt };
          const answer = await client.heartbeat(id, workerId, json);
          if (!answer.ok) throw new Error(JSON.stringify(answer));
        }
      },
      fails: (more: Partial<Extract<ReportInput, { type: 'fail' }>> = {}) =>
        report({ type: 'fail', attempt, verdict: 'build_failed', ...more, log: log() }),
      /** Each artifact by its name, with its bytes. */
      async succeeds(artifacts: Record<string, string | Uint8Array> = {}, app?: ArtifactApp) {
        const reports = [];
        for (const [name, bytes] of Object.entries(artifacts)) {
          const local = file('artifact', bytes);
          const options = { signal: NEVER, giveUpAfterMs: 30_000, place: placeOfAttempt(id) };
          const stored = await uploadBlob(connection, local, options);
          if (!stored.ok) throw new Error(JSON.stringify(stored));
          reports.push({ name, sha256: local.sha256, size: local.sizeBytes, ...(app && { app }) });
        }
        await report({ type: 'succeed', attempt, artifacts: reports, log: log() });
      },
    };
  }
}

export type Feeding = Awaited<ReturnType<typeof startFeeding>>;
export type SharedFeeding = Awaited<ReturnType<typeof sharedFeeding>>;
