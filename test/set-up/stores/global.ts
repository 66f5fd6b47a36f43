/**
 * Global set-up of the controller's tests: starts the stand-ins of the stores. The tests run inside workerd
 * and reach them over HTTP, at the addresses that are provided here.
 */
import type { TestProject } from 'vitest/node';
import { startOddServer } from './odd-server.ts';
import { startPlay } from './play/server.ts';

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const odd = await startOddServer();
  project.provide('oddServer', odd.url);
  const play = await startPlay();
  project.provide('play', { url: play.url, tokenUrl: play.tokenUrl, strangerUrl: play.strangerUrl });
  return async () => {
    await odd.stop();
    await play.stop();
  };
}
