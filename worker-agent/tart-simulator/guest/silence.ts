/**
 * Listens at the address of a guest that is down for good: accepts connections and never answers, like a Mac
 * that hangs in its restart. Without it connections would be refused, but only a guest that lives refuses.
 *
 * Invariant: it keeps no process alive.
 */
import { createServer } from 'node:net';

/** Retries after this time, because the processes of the guest may hold the port for a moment longer. */
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
