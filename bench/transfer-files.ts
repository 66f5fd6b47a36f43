/**
 * Measures files sent up and down through a controller by the agent's client, beside a plain stream to and
 * from the same R2 in the same workerd.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { AdminClient } from '../client/admin-client.ts';
import { BuildsClient } from '../client/builds-client.ts';
import { Connection } from '../client/request.ts';
import { WorkerClient } from '../client/worker-client.ts';
import { startController } from '../local/farm/controller.ts';
import { FOLDER_MARK } from '../local/farm/leftovers.ts';
import type { Took, Transfer } from './transfer-child.ts';
import { peakMib, workerdBelow } from './usage.ts';

const CHILD = fileURLToPath(new URL('transfer-child.ts', import.meta.url));
const ENTRY = fileURLToPath(new URL('plain-r2.ts', import.meta.url));
const MIB = 1024 * 1024;

type Measured = Took & { workerdMib: number };

interface FileRow {
  sizeMib: number;
  way: 'up' | 'down';
  mibPerS: number;
  plainMibPerS: number;
  /** The time, divided by that of the plain stream. */
  ratio: number;
  agentMib: number;
  workerdMib: number;
  /** Measured during the plain stream, because R2's stand-in on this machine runs in the same process. */
  plainWorkerdMib: number;
}

export async function benchFiles(dir: string, sizesMib: readonly number[], onRow: (row: FileRow) => void) {
  await using controller = await startController({
    ...{ stateDir: join(dir, 'controller'), entry: ENTRY, env: { [FOLDER_MARK]: dir } },
  });
  const { url, secrets } = controller;
  const admin = new Connection({ url, key: secrets.ADMIN_KEY });
  const api = new BuildsClient(admin);
  const { worker, key: workerKey } = await new AdminClient(admin).registerWorker({ name: 'bench', pool: 'bench' });
  const client = new WorkerClient(new Connection({ url, key: workerKey }));
  const workerd = workerdBelow(dir);
  for (const sizeMib of sizesMib) {
    const file = await randomFile(join(dir, 'file'), sizeMib);
    const run = async (kind: Transfer['kind'], key: string, buildId?: string) => {
      const path = kind.endsWith('download') ? join(dir, 'download') : file.path;
      const transfer: Transfer = { kind, url, key, ...file, path, buildId };
      const child = () => execa(process.execPath, [CHILD, JSON.stringify(transfer)]);
      const [{ stdout }, workerdMib] = await peakMib(workerd, child);
      if (path !== file.path) await rm(path);
      return { ...(JSON.parse(stdout) as Took), workerdMib };
    };
    const row = (way: FileRow['way'], took: Measured, plain: Measured) =>
      onRow({
        sizeMib,
        way,
        mibPerS: round((sizeMib * 1_000) / took.ms),
        plainMibPerS: round((sizeMib * 1_000) / plain.ms),
        ratio: round(took.ms / plain.ms),
        agentMib: took.peakMib,
        workerdMib: took.workerdMib,
        plainWorkerdMib: plain.workerdMib,
      });
    row('up', await run('upload', workerKey), await run('plain upload', workerKey));
    const { id } = await api.submit({
      ...{ source: { sha256: file.sha256 }, command: 'true', platform: 'ios', pool: 'bench' },
    });
    const claimed = await client.claim(worker.id, { instanceId: 'bench', claimId: id });
    if (!claimed.ok || !claimed.value.assignment) throw new Error(`build ${id} could not be claimed`);
    row('down', await run('download', claimed.value.assignment.tokens.run, id), await run('plain download', workerKey));
    await api.cancel(id);
    await rm(file.path);
  }
}

async function randomFile(path: string, sizeMib: number) {
  const hash = createHash('sha256');
  const file = createWriteStream(path);
  for (let done = 0; done < sizeMib; done++) {
    const bytes = randomBytes(MIB);
    hash.update(bytes);
    if (!file.write(bytes)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
  return { path, sha256: hash.digest('hex'), sizeBytes: sizeMib * MIB };
}

const round = (value: number) => Math.round(value * 10) / 10;
