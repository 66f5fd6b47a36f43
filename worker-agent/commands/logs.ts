/** `expo-worker logs`: prints the end of the agent's log, and with `-f` what is added, over rotations too. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { pause } from '../../client/retry.ts';
import { tailBefore } from '../build-log/tail.ts';
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
  // A part that is read may end in the middle of a character. The end of the file never does, because the
  // agent writes whole lines.
  const decoder = new StringDecoder('utf8');
  const show = (bytes: Buffer) => write(decoder.write(bytes));
  let file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(
      error.code === 'ENOENT'
        ? `There is no ${path}. The agent writes this file when launchd runs it. Run \`sudo expo-worker install\``
        : `${path} cannot be read (${error.code}). If the agent runs as root, run the same command with \`sudo\``,
    );
  });
  try {
    let { size: offset, ino } = await file.stat();
    write((await tailBefore(file, offset, { lines: lines + 1, maxBytes: TAIL_MAX_BYTES })).join('\n'));
    while (follow && !signal.aborted) {
      await pause(POLL_MS, signal).catch(() => {});
      // Before the copy, because the agent writes nothing more to a file that has lost this name.
      const named = await stat(path).catch(() => null);
      offset = await copy(file, offset, show);
      if (!named || named.ino === ino) continue;
      const next = await open(path, 'r').catch(() => null);
      if (!next) continue; // the agent is between two files
      await file.close();
      file = next;
      offset = 0;
      ({ ino } = await file.stat());
    }
  } finally {
    await file.close();
  }
}

/** Shows what the file has from this offset on, or all of it if it was emptied. Returns where it ends. */
async function copy(file: FileHandle, from: number, show: (bytes: Buffer) => void): Promise<number> {
  let offset = (await file.stat()).size < from ? 0 : from;
  for (;;) {
    const { buffer, bytesRead } = await file.read({ position: offset });
    if (bytesRead === 0) return offset;
    show(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
}
