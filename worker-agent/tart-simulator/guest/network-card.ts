/**
 * Counts the bytes that the guest receives and sends: those of SSH, and those between its programs and the
 * gateway.
 *
 * Owns the file that facade/netstat shows.
 */
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';

const WRITE_EVERY_MS = 500;

export class NetworkCard {
  readonly #sockets = new Set<{ socket: Socket; outward: boolean }>();
  #received = 0;
  #sent = 0;
  #written = '';

  /** `outward` if the guest's program, and not the network, is at the other end of this socket. */
  count(socket: Socket, outward: boolean): void {
    const counted = { socket, outward };
    this.#sockets.add(counted);
    socket.once('close', () => {
      this.#sockets.delete(counted);
      const { received, sent } = bytesOf(counted);
      this.#received += received;
      this.#sent += sent;
    });
  }

  /** Writes `RECEIVED SENT` into the file from now on. */
  keepFile(path: string): void {
    const write = () => {
      const open = [...this.#sockets].map(bytesOf);
      const received = open.reduce((sum, one) => sum + one.received, this.#received);
      const sent = open.reduce((sum, one) => sum + one.sent, this.#sent);
      const text = `${received} ${sent}\n`;
      if (text === this.#written) return;
      try {
        writeFileSync(path, text);
        this.#written = text;
      } catch {
        // The disk of the guest is full, or the VM is being deleted.
      }
    };
    write();
    setInterval(write, WRITE_EVERY_MS).unref();
  }
}

function bytesOf({ socket, outward }: { socket: Socket; outward: boolean }): { received: number; sent: number } {
  const { bytesRead, bytesWritten } = socket;
  return outward ? { received: bytesWritten, sent: bytesRead } : { received: bytesRead, sent: bytesWritten };
}
