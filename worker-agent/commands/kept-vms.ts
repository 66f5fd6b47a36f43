/** Finds a VM that is kept on this Mac, for the commands that name one by its build. */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type AgentConfig, loadConfig } from '../config.ts';
import { CommandError, EXIT } from '../exit-codes.ts';
import { orForbidden } from '../state/forbidden.ts';
import type { AttemptJournal } from '../state/journal.ts';
import { SAFE_ID, StateFolder } from '../state/state-folder.ts';

export interface KeptVmOptions {
  config: string;
  /** `BUILD`, or `BUILD#ATTEMPT`. */
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
export async function findKeptVm({ config: configPath, ...named }: KeptVmOptions): Promise<FoundVm> {
  const { build, attempt } = parseNamed(named);
  const config = await loadConfig(configPath);
  const folder = dirname(configPath);
  const state = new StateFolder(join(folder, 'state'));
  await readdir(state.dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw orForbidden(error);
  });
  const journals = await state.readAttempts(build);
  const wanted = journals.filter(
    ({ state: { assignment } }) => attempt === undefined || assignment.attempt === attempt,
  );
  const kept = wanted.filter((journal) => journal.isKept);
  const of = attempt === undefined ? `build ${build}` : `attempt ${attempt} of build ${build}`;
  if (kept.length > 1) {
    const names = kept.map(({ state: { assignment } }) => `${build}#${assignment.attempt}`).join(' or ');
    throw new CommandError(`VMs of several attempts of build ${build} are kept. Name one: ${names}`);
  }
  if (kept.length === 0) {
    const why = wanted.length > 0 ? 'it has not come to its end yet, or its VM is being deleted' : 'it is not kept';
    const next =
      config.keepVmMaxMs === 0
        ? 'This Mac keeps none: keepVmMaxMs is 0 in its config.'
        : '`expo-worker status` lists the kept VMs.';
    throw new CommandError(`This Mac has no VM of ${of} to look into: ${why}. ${next}`);
  }
  const journal = kept[0]!;
  return { config, folder, journal, name: `${build}#${journal.state.assignment.attempt}` };
}

function parseNamed({ build, attempt }: Omit<KeptVmOptions, 'config'>): Omit<KeptVmOptions, 'config'> {
  const [, id = build, number] = /^(.*)#(\d{1,6})$/.exec(build) ?? [];
  if (!SAFE_ID.test(id))
    throw new CommandError(
      `BUILD must be the id of a build, as \`expo-worker status\` shows it, and not ${JSON.stringify(build)}`,
      EXIT.usage,
    );
  if (number === undefined) return { build: id, attempt };
  if (attempt !== undefined && attempt !== Number(number))
    throw new CommandError(`${build} and ${attempt} name two attempts. Name one.`, EXIT.usage);
  return { build: id, attempt: Number(number) };
}
