/**
 * Stands at the address of a guest that is down for good: connections come about and nothing ever answers, as
 * from a Mac that hangs in its restart. Without it a connection would be refused, which takes a guest that
 * lives.
 *
 * Invariant: it keeps no process alive.
 */
import { createServer } from 'node:net';

/** The processes of the guest may hold the port for a moment longer. */
const AGAIN_MS = 100;

export function keepSilentAt(host: string, port: number): void {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.pause().unref();
  });
  const listen = () => server.listen({ host, port }).unref();
  server.on('error', () => setTimeout(listen, AGAIN_MS).unref());
  listen();
}
