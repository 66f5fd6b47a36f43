import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { until } from '../worker-agent/factories/until.ts';
import { Begun } from './factories/expo-build.ts';

test('a timer and a process that a run leaves are found, and what the test begins meanwhile is not', async () => {
  using begun = new Begun();
  let timer: NodeJS.Timeout | undefined;
  await begun.by(async () => {
    await null;
    timer = setTimeout(() => {}, 60_000);
    setTimeout(() => {}, 60_000).unref();
    spawn('true');
  });
  const ofTest = setTimeout(() => {}, 60_000);
  expect(begun.left()).toEqual(['Timeout', 'PROCESSWRAP']);
  clearTimeout(timer);
  await until(() => begun.left().length === 0, 'the end of both');
  clearTimeout(ofTest);
});
