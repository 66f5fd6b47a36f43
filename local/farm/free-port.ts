/**
 * Gives ports to servers that other processes are about to start, perhaps a second time.
 *
 * Invariant: no other process gets such a port by chance. The system itself gives only higher ports to
 * connections, and to servers that ask for any port. Each process takes ports from slices of its own, and no
 * port twice.
 */
import { createServer, type Server } from 'node:net';

/** Linux gives ports above LAST by itself, macOS far above it. fetch refuses some ports below FIRST. */
const FIRST = 11_000;
const LAST = 32_767;
const SLICE = 100;
const SLICES = Math.floor((LAST - FIRST) / SLICE);

let next = 0;
let drawn: Promise<unknown> = Promise.resolve();

/**
 * A port at which no process listens. One call waits for the other, so that they do not take a slice each.
 */
export function freePort(): Promise<number> {
  const port = drawn.then(draw);
  drawn = port.catch(() => {});
  return port;
}

async function draw(): Promise<number> {
  for (;;) {
    if (next % SLICE === 0) next = (await ownSlice()) + 1;
    const port = next++;
    const server = await listen(port);
    if (!server) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Listens at the first port of a slice until this process ends, so that no other takes the slice. */
async function ownSlice(): Promise<number> {
  for (let tries = 0; tries < SLICES; tries++) {
    const port = FIRST + ((process.pid + tries) % SLICES) * SLICE;
    const guard = await listen(port);
    guard?.unref();
    if (guard) return port;
  }
  throw new Error(`none of the ports from ${FIRST} to ${LAST} is free`);
}

function listen(port: number): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.on('error', () => resolve(null)).listen(port, '127.0.0.1', () => resolve(server));
  });
}
