import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';

const PORTS = 150;
const MODULE = new URL('../../../local/farm/free-port.ts', import.meta.url).href;

/** The numbers that another process prints. */
async function numbersOf(program: string): Promise<number[]> {
  const imports = `import { createServer } from 'node:net'; import { freePort } from '${MODULE}';`;
  const args = ['--input-type=module', '-e', `${imports}\n${program}`];
  return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout);
}

const portsOfAnother = () =>
  numbersOf(`console.log(JSON.stringify(await Promise.all(Array.from({ length: ${PORTS} }, freePort))));`);

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
  // In a process of its own, whose first port begins a slice. The one after the last of a slice is another's.
  const [taken, given] = await numbersOf(`const taken = (await freePort()) + 1;
const server = createServer().listen(taken, '127.0.0.1', async () => {
  console.log(JSON.stringify([taken, await freePort()]));
  server.close();
});`);
  expect(given).toBeGreaterThan(taken!);
});
