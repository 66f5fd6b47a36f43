/** Finds a VM that is kept on this Mac, for the commands that name one by its build. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type AgentConfig, loadConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import type { AttemptJournal } from '../state/journal.ts';
import { SAFE_ID, StateFolder } from '../state/state-folder.ts';

export interface KeptVmOptions {
  config: string;
  build: string;
  /** Needed only if VMs of several attempts of the build are kept. */
  attempt?: number | undefined;
}

export interface FoundVm {
  config: AgentConfig;
  /** Where config and state lie. */
  folder: string;
  journal: AttemptJournal;
  /** `BUILD#ATTEMPT`, for people. */
  name: string;
}

/** Rejects with CommandError or ConfigError. */
export async function findKeptVm({ config: configPath, build, attempt }: KeptVmOptions): Promise<FoundVm> {
  if (!SAFE_ID.test(build))
    throw new CommandError(
      `BUILD must be the id of a build, as \`expo-worker status\` shows it, and not ${JSON.stringify(build)}`,
      EXIT.usage,
    );
  const config = await loadConfig(configPath);
  const folder = dirname(configPath);
  const state = new StateFolder(join(folder, 'state'));
  await readdir(state.dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EACCES') throw new CommandError('This account may not read the state of the agent. Use `sudo`');
  });
  const journals = await state.readAttempts(build);
  const wanted = journals.filter(
    ({ state: { assignment } }) => attempt === undefined || assignment.attempt === attempt,
  );
  const kept = wanted.filter((journal) => journal.isKept);
  const of = attempt === undefined ? `build ${build}` : `attempt ${attempt} of build ${build}`;
  if (kept.length > 1) {
    const attempts = kept.map(({ state: { assignment } }) => assignment.attempt).join(' and ');
    throw new CommandError(`VMs of attempts ${attempts} of build ${build} are kept. Name one: ${build} ATTEMPT`);
  }
  if (kept.length === 0) {
    const why = wanted.length > 0 ? 'it has not come to its end yet, or its VM is being deleted' : 'it is not kept';
    throw new CommandError(
      `This Mac has no VM of ${of} to look into: ${why}. \`expo-worker status\` lists the kept VMs`,
    );
  }
  const journal = kept[0]!;
  return { config, folder, journal, name: `${build}#${journal.state.assignment.attempt}` };
}
