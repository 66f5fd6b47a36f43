/**
 * Global set-up: starts one controller for all test files that need none of their own, as soon as the first
 * of them asks for it.
 *
 * Invariant: the controller and its folder do not outlive the run of the tests, also if Ctrl-C ends it.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { type LocalController, startController } from '../../../local/farm/controller.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';
import { SILENT_STORES } from './silent-stores.ts';

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stop = new AbortController();
  let folder: ReturnType<typeof temporaryDir> | undefined;
  let running: LocalController | undefined;
  const start = async () => {
    folder = temporaryDir();
    running = await startController({ ...SILENT_STORES, stateDir: folder.path, signal: stop.signal });
    return running;
  };
  let started: Promise<LocalController> | undefined;

  const server = createServer((_, answer) => {
    started ??= start();
    started.then(
      ({ url, secrets }) => answer.end(JSON.stringify({ url, secrets })),
      (error: Error) => answer.writeHead(500).end(error.message),
    );
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  project.provide('sharedController', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);

  const end = async () => {
    stop.abort(new Error('the tests end'));
    server.close();
    server.closeAllConnections();
    await (await started?.catch(() => undefined))?.stop();
    folder?.[Symbol.dispose]();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  // The signal is sent again, because by now nobody else may listen to it.
  const onSignal = (name: NodeJS.Signals) => void end().finally(() => process.kill(process.pid, name));
  const onExit = () => running?.signal('SIGKILL');
  for (const name of signals) process.once(name, onSignal);
  process.once('exit', onExit);
  return async () => {
    for (const name of signals) process.off(name, onSignal);
    process.off('exit', onExit);
    await end();
  };
}
