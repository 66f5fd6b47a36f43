/**
 * Brings the source from the controller to the host, and from there into the VM.
 *
 * Invariant: what goes into the VM is, byte for byte, the archive that the build names, and has been looked through.
 */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { failed } from '../ending.ts';
import { findSourceProblem } from '../files/archive-check.ts';
import { prepareBuild, UNPACK_REFUSED, unpackSource } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { SshError } from '../guest/ssh-error.ts';
import { type AttemptRun, ask } from './context.ts';

const EXEC_MS = 30_000;
const UNPACK_MS = 15 * 60_000;

export async function fetchSource(run: AttemptRun): Promise<void> {
  const { journal } = run.context;
  const { sha256, size } = journal.state.assignment.source;
  const target = { path: journal.sourcePath, sha256, sizeBytes: size };
  await ask(run, 'source_download', () => run.client.downloadSource(run.key.buildId, target, run.signal));
  const problem = await findSourceProblem(target.path, run.signal);
  if (problem) throw failed('source_invalid', 'source', problem);
}

export async function sendSource(run: AttemptRun, guest: Guest): Promise<void> {
  const { journal } = run.context;
  const { size } = journal.state.assignment.source;
  await expectSuccess('source_unpack', guest.exec(prepareBuild(run.key), { timeoutMs: EXEC_MS }));
  const sent = await guest
    .attempt(async (ssh, signal) => {
      const unpacking = await ssh.open(unpackSource({ ...run.key, archiveBytes: size }), {
        timeoutMs: UNPACK_MS,
        signal,
      });
      unpacking.done.catch(() => {}); // awaited below
      unpacking.stdout.resume().on('error', () => {});
      // A guest that stops reading early says why with its exit code.
      await pipeline(createReadStream(journal.sourcePath), unpacking.stdin, { signal }).catch(() => {});
      return await unpacking.done;
    })
    .catch((error) => {
      throw error instanceof SshError ? failed('transfer_failed', 'source_unpack', error.message) : error;
    });
  const detail = sent.stderr.trim().slice(-500);
  if (sent.exitCode === UNPACK_REFUSED) throw failed('source_invalid', 'source', `tar in the VM refused it: ${detail}`);
  if (sent.exitCode !== 0) throw failed('transfer_failed', 'source_unpack', `exit code ${sent.exitCode}: ${detail}`);
  await rm(journal.sourcePath, { force: true });
}
