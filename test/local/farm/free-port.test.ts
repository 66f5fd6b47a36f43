import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';

const PORTS = 150;
const MODULE = new URL('../../../local/farm/free-port.ts', import.meta.url).href;
const PROGRAM = `const { freePort } = await import('${MODULE}');
console.log(JSON.stringify(await Promise.all(Array.from({ length: ${PORTS} }, freePort))));`;

async function portsOfAnother(): Promise<number[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', PROGRAM]);
  return JSON.parse(stdout);
}

test('no port is given twice, by this process or by another, and the system gives none of them', async () => {
  const own: number[] = [];
  for (let count = 0; count < PORTS; count++) own.push(await freePort());
  const ports = [...own, ...(await Promise.all([portsOfAnother(), portsOfAnother()])).flat()];
  // Those two may run one after the other, and then share a slice.
  expect(new Set(own).size).toBe(PORTS);
  for (const port of ports.slice(PORTS)) expect(own).not.toContain(port);
  for (const port of ports) expect(port).toBeLessThan(32_768);
});

test('a port at which somebody listens is not given', async () => {
  const taken = (await freePort()) + 1;
  const server = createServer().listen(taken, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  try {
    expect(await freePort()).not.toBe(taken);
  } finally {
    server.close();
  }
});
