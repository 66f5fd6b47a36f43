/**
 * Defines the frames between `tart exec` and the guest agent over `control.sock`: one JSON object a line,
 * with bytes in Base64. Tart itself speaks gRPC there; no other difference is visible from outside.
 */
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { TerminalSize } from './terminal.ts';

/** In the folder of the VM. Its path may be too long for a socket, so both sides work in that folder. */
export const CONTROL_SOCKET = 'control.sock';

export interface Asked {
  words: readonly string[];
  interactive: boolean;
  /** The size of the requested terminal; null without a terminal. */
  terminal: TerminalSize | null;
}

export type ToGuest = { asked: Asked } | { stdin: string };
export type FromGuest = { begun: true } | { stdout: string } | { stderr: string } | { exitCode: number };

/** Empty for the end of the input, as in Tart. */
export const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');
export const textOf = (bytes: Buffer): string => bytes.toString('base64');

export function send(socket: Socket, frame: ToGuest | FromGuest): void {
  if (socket.writable) socket.write(`${JSON.stringify(frame)}\n`);
}

/** Ends when the connection ends for any reason. */
export async function* framesFrom<T extends ToGuest | FromGuest>(socket: Socket): AsyncGenerator<T> {
  const lines = createInterface({ input: socket });
  socket.once('close', () => lines.close());
  try {
    for await (const line of lines) yield JSON.parse(line) as T;
  } catch (error) {
    if (error !== socket.errored) throw error;
  }
}
