/** Measures a guest before its command on a real OpenSSH server that answers, is slow, or is gone. */
import { expect } from 'vitest';
import type { UsageRates } from '../../../worker-agent/build-log/silent-but-working.ts';
import { BaselineLooks } from '../../../worker-agent/steps/baseline.ts';
import type { AttemptContext } from '../../../worker-agent/steps/context.ts';
import { testWith } from '../../set-up/test-with.ts';
import { followedBuild, KEY } from '../factories/followed-build.ts';

const onServer = testWith('sshd');

async function measuredGuest() {
  const build = await followedBuild('true');
  const noted: (UsageRates | null | undefined)[] = [];
  const update: AttemptContext['journal']['update'] = async ({ baseline }) => void noted.push(baseline);
  const journal = { update } as AttemptContext['journal'];
  const { vm, signal } = build;
  return { build, noted, looks: new BaselineLooks({ key: KEY, signal, journal }, vm) };
}

onServer('two looks make a baseline', async () => {
  const { build, noted, looks } = await measuredGuest();
  await using _build = build;
  await looks.look();
  await looks.look();
  await looks.note();
  expect(noted).toEqual([{ cores: expect.any(Number), bytesPerSecond: expect.any(Number) }]);
  expect(build.commands).toEqual(['build usage', 'build usage']);
});

onServer('a look at a guest that does not answer is tried once, and left out', async () => {
  const { build, noted, looks } = await measuredGuest();
  await using _build = build;
  build.program('ps', 'exec sleep 50');
  await looks.look();
  await looks.note();
  expect(noted).toEqual([null]);
  expect(build.commands).toEqual(['build usage']);
});

onServer('a look over a broken connection is left out, but the end of the attempt is told', async () => {
  const { build, noted, looks } = await measuredGuest();
  await using _build = build;
  build.door.cutNow();
  await looks.look();
  await looks.note();
  expect(noted).toEqual([null]);
  build.end();
  await expect(looks.look()).rejects.toThrow('the agent has ended');
});
