/**
 * `expo-worker release BUILD [ATTEMPT]`: ends the VM of a failed attempt that is kept, and waits until its
 * slot is free.
 *
 * It asks the running agent by a file. If that agent dies, the next one finds the file. Without an agent this
 * command holds the agent's lock and ends the VM itself.
 */
import { writeFile } from 'node:fs/promises';
import { AttemptClient } from '../../client/attempt-client.ts';
import { Connection } from '../../client/request.ts';
import { pause } from '../../client/retry.ts';
import { CommandError } from '../exit-codes.ts';
import { type AgentLock, AgentLockedError, acquireAgentLock } from '../state/agent-lock.ts';
import { AttemptJournal } from '../state/journal.ts';
import { createTart } from '../tart/tart.ts';
import { REQUEST_MS } from '../time-limits.ts';
import { type FoundVm, findKeptVm, type KeptVmOptions } from './kept-vms.ts';

/** Stopping and deleting a VM takes seconds; Tart's own limits add up to some minutes. */
const LIMIT_MS = 3 * 60_000;
const LOOK_MS = 300;

export async function releaseCommand(options: KeptVmOptions): Promise<void> {
  const found = await findKeptVm(options);
  using lock = lockUnlessAgentRuns(found.folder);
  if (lock) await endWithoutAgent(found);
  else await askAgent(found);
  process.stdout.write(`The VM of ${found.name} is gone, and its slot is free.\n`);
}

function lockUnlessAgentRuns(folder: string): AgentLock | null {
  try {
    return acquireAgentLock(folder);
  } catch (error) {
    if (error instanceof AgentLockedError) return null;
    throw error;
  }
}

async function askAgent({ journal, name }: FoundVm): Promise<void> {
  await writeFile(journal.releasePath, '', { mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error; // the attempt has just ended, and its folder is gone
  });
  for (const giveUpAt = performance.now() + LIMIT_MS; ; ) {
    const now = await AttemptJournal.open(journal.dir);
    if (now === null || now.state.vmGone) return;
    if (performance.now() > giveUpAt)
      throw new CommandError(
        `The agent has not ended the VM of ${name} within ${LIMIT_MS / 60_000} minutes. \`expo-worker logs\` says what holds it; the next start of the agent tries again`,
      );
    await pause(LOOK_MS);
  }
}

async function endWithoutAgent({ config, folder, name, ...found }: FoundVm): Promise<void> {
  // An agent may have run until a moment ago.
  const journal = await AttemptJournal.open(found.journal.dir);
  if (!journal || journal.state.vmGone) return;
  const { vmName, run, kept, reported, assignment } = journal.state;
  await journal.update({ kept: { ...kept!, ended: kept!.ended ?? 'released' } });
  const removed = await createTart(config).remove(vmName, { run: run ?? undefined });
  if (!removed.ok) throw new CommandError(`The VM of ${name} could not be deleted: ${removed.message}`);
  await journal.update({ vmGone: true });
  const connection = new Connection({ url: config.controllerUrl, key: config.apiKey, requestMs: REQUEST_MS });
  const { buildId, attempt } = assignment;
  const answer = await new AttemptClient(connection).kept(buildId, { attempt, until: null });
  // Otherwise the next agent tells what is still to be told.
  if (reported && (answer.ok || answer.kind === 'refused')) await journal.remove();
}
