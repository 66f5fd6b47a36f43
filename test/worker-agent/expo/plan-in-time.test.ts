/** Makes plans of real archives, in a thread that is ended when its time or its memory is used up. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import {
  type PlanTask,
  planInTime,
  secretsInTime,
  UnreadableArchive,
} from '../../../worker-agent/expo/plan-in-time.ts';
import { archiveOf } from '../factories/raw-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const PATIENT = new AbortController().signal;
const json = JSON.stringify;
const PROJECT = {
  'eas.json': json({ build: { it: { withoutCredentials: true } } }),
  'package.json': json({ dependencies: { expo: '~57.0.0' } }),
  'package-lock.json': '{}',
  'app.json': json({ expo: { name: 'Shop', slug: 'shop' } }),
  'credentials.json': json({ android: { keystore: { keystorePassword: 'geheim' } } }),
};

function sourceOf(files: Record<string, string>) {
  const dir = temporaryDir();
  const sourcePath = join(dir.path, 'source.archive');
  writeFileSync(sourcePath, archiveOf(Object.entries(files).map(([path, body]) => ({ path, body }))));
  const inputs = { env: { TOKEN: 'a-secret-token' }, secretNames: ['TOKEN'] };
  const profile = { platform: 'android', profile: 'it', appRoot: '.', inputs } as const;
  const task: PlanTask = { sourcePath, ...profile, originVariables: {}, imageNames: [], now: new Date() };
  return { task, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

test('a plan is made in a thread, with what is secret, and so is the list of the passwords in the source', async () => {
  using source = sourceOf(PROJECT);
  const made = await planInTime(source.task, PATIENT);
  expect(made).toMatchObject({ ok: true, value: { engine: 'plugin', secret: { TOKEN: 'a-secret-token' } } });
  expect(await planInTime({ ...source.task, profile: 'other' }, PATIENT)).toMatchObject({ ok: false });
  expect(await secretsInTime(source.task, PATIENT)).toMatchObject({ ok: true, value: ['geheim'] });
});

test('a project that takes too long or fills the memory ends with a sentence, and holds up nothing', async () => {
  using source = sourceOf(PROJECT);
  const slow = await planInTime(source.task, PATIENT, { ms: 1, memoryMb: 512 });
  expect(slow).toMatchObject({
    ok: false,
    problem: expect.stringMatching(/^Reading how .* takes longer than 0\.001 s/),
  });
  let turns = 0;
  const beat = setInterval(() => turns++, 1);
  const large = await planInTime(source.task, PATIENT, { ms: 60_000, memoryMb: 10 });
  clearInterval(beat);
  expect(large).toMatchObject({ ok: false, problem: expect.stringContaining('needs more than 10 MB of memory') });
  expect(turns).toBeGreaterThan(10);
});

test('a thread whose memory is used up while its attempt ends does not end the agent', async () => {
  using source = sourceOf(PROJECT);
  await nextTurn();
  const over = new AbortController();
  const both = planInTime(source.task, over.signal, { ms: 60_000, memoryMb: 10 });
  // Meanwhile the thread fills its memory, which Node hears of after this turn.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
  const reason = new Error('over');
  over.abort(reason);
  await expect(both).rejects.toBe(reason);
});

test('a damaged archive is the fault of the source, and an ended attempt ends the thread', async () => {
  using source = sourceOf(PROJECT);
  writeFileSync(source.task.sourcePath, 'hello');
  await expect(planInTime(source.task, PATIENT)).rejects.toThrow(UnreadableArchive);
  await expect(secretsInTime(source.task, PATIENT)).rejects.toThrow('not a readable tar archive');
  const reason = new Error('over');
  await expect(planInTime(source.task, AbortSignal.abort(reason))).rejects.toBe(reason);
});
