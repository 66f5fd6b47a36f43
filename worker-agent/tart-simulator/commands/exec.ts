/**
 * Does `tart exec`: lets the guest agent run a command, without a network, and ends with its exit code. If
 * the guest agent does not answer over the VM's `control.sock`, because the VM boots, is frozen or has no
 * guest agent, it fails like Tart, and as late.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Arguments } from '../arguments.ts';
import type { Command } from '../command.ts';
import { RuntimeError, vmNotRunning } from '../failure.ts';
import { bytesOf, CONTROL_SOCKET, type FromGuest, framesFrom, send, textOf } from '../guest/exec-frames.ts';
import { openVm, runnerOf, touch } from '../home/vms.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const TRY_EVERY_MS = 200;
/** For a terminal whose size is not known. */
const ROWS = 24;
const COLUMNS = 80;

export const exec: Command = {
  name: 'exec',
  overview: 'Execute a command in a running VM',
  positionals: [
    { name: 'name', help: 'VM name', passesOnTheRest: true },
    { name: 'command', help: 'Command to execute', repeating: true },
  ],
  options: [
    { names: ['--interactive', '-i'], help: 'Attach host input to a remote command' },
    { names: ['--tty', '-t'], help: 'Allocate a remote pseudo-terminal (PTY)' },
  ],
  async run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    touch(vm);
    if (!runnerOf(vm)) throw vmNotRunning(vm.name);
    process.chdir(vm.folder);
    const isRaw = args.has('--tty') && process.stdin.isTTY;
    try {
      if (isRaw) process.stdin.setRawMode(true);
      process.exitCode = await executed(args);
    } finally {
      if (isRaw) process.stdin.setRawMode(false);
      if (args.has('--interactive')) process.stdin.destroy(); // it would keep this process alive
    }
  },
};

/** The exit code of the command. */
async function executed(args: Arguments): Promise<number> {
  const giveUpAt = performance.now() + CONNECT_TIMEOUT_MS;
  for (;;) {
    const exitCode = await attempt(args, giveUpAt);
    if (exitCode !== null) return exitCode;
    if (performance.now() + TRY_EVERY_MS >= giveUpAt)
      throw new RuntimeError(
        'Failed to connect to the VM using its control socket: The operation couldn’t be completed. ' +
          '(GRPC.GRPCConnectionPoolError error 1.), is the Tart Guest Agent running?',
      );
    await sleep(TRY_EVERY_MS);
  }
}

/** Null if the guest agent has not answered, so the command has not begun. */
async function attempt(args: Arguments, giveUpAt: number): Promise<number | null> {
  const socket = connect(CONTROL_SOCKET);
  socket.on('error', () => {}); // the frames end with the connection
  const timer = setTimeout(() => socket.destroy(), Math.max(1, giveUpAt - performance.now()));
  const interactive = args.has('--interactive');
  const { rows = ROWS, columns = COLUMNS } = process.stdout;
  const terminal = args.has('--tty') ? { rows, columns } : null;
  send(socket, { asked: { words: args.positionals.slice(1), interactive, terminal } });
  let begun = false;
  try {
    for await (const frame of framesFrom<FromGuest>(socket)) {
      clearTimeout(timer);
      if ('stdout' in frame) await print(process.stdout, frame.stdout);
      else if ('stderr' in frame) await print(process.stderr, frame.stderr);
      else if ('exitCode' in frame) return frame.exitCode;
      else {
        begun = true;
        if (interactive) passOnInput(socket);
      }
    }
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
  if (begun) throw new Error('unavailable (14): Transport became inactive');
  return null;
}

function passOnInput(socket: Socket): void {
  process.stdin.on('data', (bytes: Buffer) => send(socket, { stdin: textOf(bytes) }));
  process.stdin.once('end', () => send(socket, { stdin: '' }));
}

async function print(stream: NodeJS.WriteStream, text: string): Promise<void> {
  if (!stream.write(bytesOf(text))) await once(stream, 'drain');
}
