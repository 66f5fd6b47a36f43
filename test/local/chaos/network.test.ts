import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MacNetwork } from '../../../local/chaos/network.ts';

test('a cut network passes nothing and ends nothing; restored, it passes requests again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tartbeat-network-test-'));
  const server = createServer((request, response) => {
    if (request.url === '/slow') response.write('begun');
    else response.end('whole');
  });
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const configPath = join(dir, 'config.json');
    const vm = { vmName: 'vm', vmUser: 'admin', vmSshKey: '/key' };
    writeFileSync(
      configPath,
      JSON.stringify({ ...vm, controllerUrl: 'https://elsewhere.example', apiKey: 'tb_worker_of-a-test' }),
    );
    await using network = await MacNetwork.between(
      { configPath },
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    );
    const config = JSON.parse(readFileSync(configPath, 'utf8'));
    expect(config).toMatchObject({ vmUser: 'admin', vmControllerUrl: expect.stringMatching(/192\.168\.64\.1:\d+$/) });
    const ask = async (path: string, withinMs = 10_000) =>
      (await fetch(`${config.controllerUrl}${path}`, { signal: AbortSignal.timeout(withinMs) })).text();
    expect(await ask('/')).toBe('whole');
    const open = ask('/slow');
    open.catch(() => {});
    await once(server, 'request');
    network.cut();
    await expect(ask('/', 300)).rejects.toThrow(/timeout/i);
    expect(
      await Promise.race([open.then(String, String), new Promise((resolve) => setTimeout(resolve, 300, 'open'))]),
    ).toBe('open');
    network.restore();
    await expect(open).rejects.toThrow();
    expect(await ask('/')).toBe('whole');
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(dir, { recursive: true });
  }
});
