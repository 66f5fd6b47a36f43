import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { temporaryDir } from '../factories/temporary-dir.ts';

const WORKER_AGENT = new URL('../../../worker-agent/', import.meta.url).href;

test('what belongs to the agent of root is told in words by whatever reads it', async () => {
  using dir = temporaryDir();
  const state = join(dir.path, 'state');
  mkdirSync(state);
  for (const name of ['images.json', 'images.lock', 'agent.lock', 'agent.json'])
    writeFileSync(join(state, name), '', { mode: 0o000 });
  chmodSync(state, 0o755);
  const script = `
    import { ImagesFile } from '${WORKER_AGENT}images/images-file.ts';
    import { acquireAgentLock } from '${WORKER_AGENT}state/agent-lock.ts';
    import { StateFolder } from '${WORKER_AGENT}state/state-folder.ts';
    if (process.getuid() === 0) process.setuid(65534);
    const file = new ImagesFile('.');
    for (const act of [
      () => file.read(),
      () => file.change((states) => states),
      () => acquireAgentLock('.'),
      () => new StateFolder('.').readAgentReport({ parse: String }),
    ])
      console.log(await Promise.try(act).catch(({ name, message }) => name + ': ' + message));`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', script], { cwd: state });
  const told = 'CommandError: This account may not read the state of the agent. Run the same command with `sudo`.';
  expect(stdout.split('\n')).toEqual(Array(4).fill(told));
});
