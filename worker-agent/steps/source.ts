/**
 * Brings the source from the controller to this Mac, and from here into the VM.
 *
 * Invariant: the VM receives exactly the archive that the build names, and only after the agent has examined
 * it.
 */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { findSourceProblem } from '../../client/packing/archive-check.ts';
import { failed } from '../ending.ts';
import { UNPACK_REFUSED } from '../guest/answers.ts';
import { prepareBuild, unpackSource } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import type { Exited } from '../guest/ssh-channel.ts';
import { SshError } from '../guest/ssh-error.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { ask } from './step.ts';

const UNPACK_MS = 15 * 60_000;
/** How much of tar's error output the message contains, in characters. */
const COMPLAINT_MAX = 500;

/** Downloads the archive and examines it. Rejects with AttemptOver. */
export async function fetchSource(context: AttemptContext): Promise<void> {
  const { journal, client, key, signal } = context;
  const { sha256, size } = journal.state.assignment.source;
  const target = { path: journal.sourcePath, sha256, sizeBytes: size };
  await ask(context, 'source_download', () => client.downloadSource(key.buildId, target, signal));
  const problem = await findSourceProblem(target.path, signal);
  if (problem) throw failed('source_invalid', 'source', problem);
}

/**
 * Unpacks the archive in the VM. Deletes it from this Mac unless `keep` is set, so that another run of the
 * agent can find the passwords in it that the log must not show. Rejects with AttemptOver.
 */
export async function sendSource(context: AttemptContext, guest: Guest, { keep = false } = {}): Promise<void> {
  const { journal, key } = context;
  await expectSuccess('source_unpack', guest.exec(prepareBuild(key), { timeoutMs: GUEST_COMMAND_MS }));
  const { exitCode, stderr } = await unpackInVm(context, guest);
  const complaint = stderr.trim().slice(-COMPLAINT_MAX);
  if (exitCode === UNPACK_REFUSED) throw failed('source_invalid', 'source', `tar in the VM refused it: ${complaint}`);
  if (exitCode !== 0) throw failed('transfer_failed', 'source_unpack', `exit code ${exitCode}: ${complaint}`);
  if (!keep) await rm(journal.sourcePath, { force: true });
}

async function unpackInVm({ journal, key }: AttemptContext, guest: Guest): Promise<Exited> {
  const { size } = journal.state.assignment.source;
  const command = unpackSource({ ...key, archiveBytes: size });
  try {
    return await guest.attempt(async (ssh, signal) => {
      const unpacking = await ssh.open(command, { timeoutMs: UNPACK_MS, signal });
      unpacking.done.catch(() => {}); // awaited below
      unpacking.stdout.resume().on('error', () => {});
      // When the guest stops reading early, its exit code says why.
      await pipeline(createReadStream(journal.sourcePath), unpacking.stdin, { signal }).catch(() => {});
      return await unpacking.done;
    });
  } catch (error) {
    throw error instanceof SshError ? failed('transfer_failed', 'source_unpack', error.message) : error;
  }
}
