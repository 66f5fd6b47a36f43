/**
 * Global set-up of the controller's tests: starts the stand-ins of the stores. The tests run inside workerd
 * and reach them over HTTP, at the addresses that are provided here.
 */
import type { TestProject } from 'vitest/node';
import { startAppStore } from './app-store/server.ts';
import { startOddServer } from './odd-server.ts';
import { startPlay } from './play/server.ts';

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const odd = await startOddServer();
  project.provide('oddServer', odd.url);
  const appStore = await startAppStore();
  project.provide('appStore', { url: appStore.url });
  const play = await startPlay();
  project.provide('play', { url: play.url, tokenUrl: play.tokenUrl, strangerUrl: play.strangerUrl });
  return async () => {
    await Promise.all([odd.stop(), appStore.stop(), play.stop()]);
  };
}
