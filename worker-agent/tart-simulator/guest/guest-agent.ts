/**
 * Acts as Tart's guest agent: runs the commands of `tart exec`, without a network.
 *
 * Invariant: a command is killed once its `tart exec` has ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type Asked, bytesOf, CONTROL_SOCKET, framesFrom, send, type ToGuest, textOf } from './exec-frames.ts';
import { wordsOnTerminal } from './terminal.ts';

export interface GuestAgentOptions {
  home: string;
  environment(): Record<string, string>;
}

/** SIGXFSZ is ignored, as over SSH. */
const RUN = 'trap "" XFSZ; exec "$@"';

export class GuestAgent {
  readonly #options: GuestAgentOptions;
  #server: Server | undefined;

  constructor(options: GuestAgentOptions) {
    this.#options = options;
  }

  /** The working directory is the VM's folder. A guest that was killed leaves its socket behind. */
  async behave(runs: boolean): Promise<void> {
    if (runs === (this.#server !== undefined)) return;
    this.#server?.close(); // this also removes the socket
    this.#server = undefined;
    if (!runs) return;
    rmSync(CONTROL_SOCKET, { force: true });
    this.#server = createServer((socket) => void this.#serve(socket)).listen(CONTROL_SOCKET);
    await once(this.#server, 'listening');
  }

  async #serve(socket: Socket): Promise<void> {
    socket.on('error', () => {});
    let child: ChildProcess | undefined;
    socket.once('close', () => child?.kill('SIGKILL'));
    try {
      for await (const frame of framesFrom<ToGuest>(socket)) {
        if ('asked' in frame) child = this.#run(frame.asked, socket);
        else if (frame.stdin === '') child?.stdin?.end();
        else child?.stdin?.write(bytesOf(frame.stdin));
      }
    } catch {
      socket.destroy(); // not a frame: another program has connected
    }
  }

  #run({ words, interactive, terminal }: Asked, socket: Socket): ChildProcess {
    const [file, ...rest] = terminal ? wordsOnTerminal(words, terminal) : words;
    const child = spawn('/bin/sh', ['-c', RUN, 'sh', file!, ...rest], {
      cwd: this.#options.home,
      env: { ...this.#options.environment(), ...(terminal && { TERM: 'xterm-256color' }) },
      detached: true,
      stdio: [interactive ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    child.stdin?.on('error', () => {}); // a command need not read its input
    child.stdout?.on('data', (bytes: Buffer) => send(socket, { stdout: textOf(bytes) }));
    child.stderr?.on('data', (bytes: Buffer) => send(socket, { stderr: textOf(bytes) }));
    child.once('error', () => socket.destroy());
    child.once('close', (exitCode) => {
      send(socket, { exitCode: exitCode ?? 255 });
      socket.end();
    });
    send(socket, { begun: true });
    return child;
  }
}
