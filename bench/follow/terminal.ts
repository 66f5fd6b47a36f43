/**
 * Runs `npm run bench:follow-terminal`, which measures how much later a line of a log reaches a terminal than
 * a raw follower: curl and `expo-build watch` follow one log at the same time, so each line is a pair.
 *
 *   npm run bench:follow-terminal [-- --lines 300] [-- --every 100]
 *
 * Needs script(1), which makes the terminal. Exit code: 0 if the median of the differences is at most 50 ms.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { AdminClient } from '../../client/admin-client.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { startController } from '../../local/farm/controller.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';

const LIMIT_MS = 50;
const { values } = parseArgs({
  options: { lines: { type: 'string', default: '300' }, every: { type: 'string', default: '100' } },
});
const [lines, everyMs] = [Number(values.lines), Number(values.every)];
if (!Number.isInteger(lines) || lines < 1 || !Number.isInteger(everyMs) || everyMs < 1) {
  console.error('Give --lines and --every as whole numbers from 1.');
  process.exit(64);
}

const dir = await mkdtemp(join(tmpdir(), 'tartbeat-bench-'));
try {
  await using controller = await startController({ stateDir: join(dir, 'controller') });
  const admin = new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY });
  const build = await begunBuild(admin);

  const raw = spawn('curl', [
    ...['-sN', '-H', `X-API-Key: ${controller.secrets.ADMIN_KEY}`, '-H', 'Accept: text/plain'],
    `${controller.url}/api/builds/${build.id}/logs?follow=1`,
  ]);
  const watch = `'${process.execPath}' '${join(PROJECT_ROOT, 'cli/expo-build.ts')}' watch ${build.id}`;
  const { CI: _, GITHUB_ACTIONS: __, ...env } = process.env;
  const terminal = spawn('script', ['-qefc', `stty rows 30 cols 100; exec ${watch}`, '/dev/null'], {
    env: {
      ...env,
      TERM: 'xterm-256color',
      EXPO_BUILD_URL: controller.url,
      EXPO_BUILD_KEY: controller.secrets.ADMIN_KEY,
    },
  });
  const readers = [arrivalsIn(raw), arrivalsIn(terminal)] as const;
  // Both readers must follow before the first line counts.
  for (let warm = 0; !readers.every((arrivals) => arrivals.has('warm')); warm++) {
    if (warm > 600) throw new Error('a follower shows nothing');
    await build.prints('mark warm\n');
    await sleep(everyMs);
  }
  for (let line = 0; line < lines; line++) {
    await build.beats(Math.floor((99 * line) / lines));
    await build.prints(`mark ${line}\n`);
    await sleep(everyMs * (0.5 + Math.random()));
  }
  await build.ends();
  await Promise.all([raw, terminal].map((child) => (child.exitCode === null ? once(child, 'close') : null)));

  const later: number[] = [];
  for (let line = 0; line < lines; line++) {
    const [a, b] = readers.map((arrivals) => arrivals.get(String(line)));
    if (a === undefined || b === undefined) throw new Error(`line ${line} did not arrive at both`);
    later.push(b - a);
  }
  later.sort((a, b) => a - b);
  const at = (share: number) => later[Math.min(later.length - 1, Math.floor(share * later.length))]!;
  const [median, most, last] = [at(0.5), at(0.95), at(1)].map((ms) => `${ms.toFixed(1)} ms`);
  console.log(
    `${lines} lines: the terminal shows a line ${median} after curl, 95 % within ${most}, all within ${last}.`,
  );
  process.exitCode = at(0.5) <= LIMIT_MS ? 0 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}

/** When each mark was first seen, in milliseconds. */
function arrivalsIn(child: ChildProcess): Map<string, number> {
  const arrivals = new Map<string, number>();
  let rest = '';
  child.stdout!.setEncoding('utf8').on('data', (part: string) => {
    const now = performance.now();
    rest += part;
    for (const [, mark] of rest.matchAll(/mark (\w+)\r?\n/g)) if (!arrivals.has(mark!)) arrivals.set(mark!, now);
    rest = rest.slice(rest.lastIndexOf('\n') + 1);
  });
  return arrivals;
}

/** A build whose log and beats this process sends in place of an agent. */
async function begunBuild(admin: Connection) {
  const api = new BuildsClient(admin);
  const source = join(dir, 'source');
  const text = randomUUID();
  await writeFile(source, text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  await api.upload({ path: source, sizeBytes: 36, sha256 });
  const { worker, key } = await new AdminClient(admin).registerWorker({ name: 'bench' });
  const { id } = await api.submit({ platform: 'ios', command: 'true', source: { sha256 } });
  const claimed = await new WorkerClient(new Connection({ url: admin.url, key })).claim(worker.id, {
    ...{ instanceId: 'bench', claimId: randomUUID() },
  });
  if (!claimed.ok || !claimed.value.assignment) throw new Error(JSON.stringify(claimed));
  const attempt = new AttemptClient(admin.withKey(claimed.value.assignment.tokens.run));
  const hash = createHash('sha256');
  let length = 0;
  const answered = async (answer: Promise<{ ok: boolean }>) => {
    const got = await answer;
    if (!got.ok) throw new Error(JSON.stringify(got));
  };
  await answered(attempt.report(id, { type: 'start', attempt: 1 }));
  return {
    id,
    async prints(text: string) {
      const bytes = new Uint8Array(Buffer.from(text));
      await answered(attempt.appendLog(id, { attempt: 1, offset: length, bytes }));
      hash.update(bytes);
      length += bytes.length;
    },
    beats: (progress: number) =>
      answered(attempt.heartbeat(id, worker.id, { source: 'vm', attempt: 1, stage: 'building', progress })),
    ends: () =>
      answered(
        attempt.report(id, {
          type: 'succeed',
          attempt: 1,
          artifacts: [],
          log: { length, sha256: hash.digest('hex') },
        }),
      ),
  };
}
