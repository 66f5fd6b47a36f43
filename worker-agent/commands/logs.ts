/** `expo-worker logs`: prints the end of the agent's log, and with `-f` what is added, over rotations too. */
import { open, stat } from 'node:fs/promises';
import { pause } from '../../client/retry.ts';
import { tailOf } from '../build-log/tail.ts';
import { CommandError } from '../exit-codes.ts';
import { logPathOf } from '../mac/launchd-plist.ts';

const POLL_MS = 500;
const TAIL_MAX_BYTES = 4 * 1024 * 1024;

export interface LogsOptions {
  config: string;
  follow: boolean;
  lines: number;
  signal: AbortSignal;
  write: (text: string) => void;
}

export async function logsCommand({ config, follow, lines, signal, write }: LogsOptions): Promise<void> {
  const path = logPathOf(config);
  const begun = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(
      error.code === 'ENOENT'
        ? `There is no ${path}. The agent writes this file when launchd runs it; \`expo-worker install\` sets that up`
        : `${path} cannot be read (${error.code})`,
    );
  });
  write((await tailOf(path, { lines: lines + 1, maxBytes: Math.min(TAIL_MAX_BYTES, begun.size) })).join('\n'));
  let offset = begun.size;
  let inode = begun.ino;
  while (follow && !signal.aborted) {
    await pause(POLL_MS, signal).catch(() => {});
    const now = await stat(path).catch(() => null);
    if (!now) continue; // the agent is between two files
    if (now.ino !== inode || now.size < offset) offset = 0;
    inode = now.ino;
    if (now.size > offset) offset += await copy(path, offset, now.size - offset, write);
  }
}

async function copy(path: string, offset: number, lengthBytes: number, write: (text: string) => void): Promise<number> {
  await using file = await open(path, 'r');
  const wanted = Math.min(lengthBytes, TAIL_MAX_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, offset);
  // Only whole lines, because the file may end in the middle of a character.
  const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1 || bytesRead;
  write(buffer.toString('utf8', 0, end));
  return end;
}
