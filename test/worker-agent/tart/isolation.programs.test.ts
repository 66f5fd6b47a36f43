import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';
import { controllerAddresses, networkArgs, networkArgsFor } from '../../../worker-agent/tart/isolation.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { createBaseImage } from '../../../worker-agent/tart-simulator/home/base-image.ts';
import { sweepSimulator, TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

test('each isolation is so many options of tart run', () => {
  expect(networkArgs('nat', ['192.0.2.1'])).toEqual([]);
  expect(networkArgs('softnet', [])).toEqual(['--net-softnet']);
  expect(networkArgs('controller', ['192.0.2.1', '192.0.2.2'])).toEqual([
    '--net-softnet',
    '--net-softnet-block=0.0.0.0/0',
    '--net-softnet-allow=192.0.2.1/32,192.0.2.2/32',
  ]);
});

test('the controller is looked up by its name; without an address no VM is started open', async () => {
  expect(await controllerAddresses('http://192.0.2.7:8787')).toEqual(['192.0.2.7']);
  expect(await networkArgsFor('controller', 'http://localhost:1')).toContain('--net-softnet-allow=127.0.0.1/32');
  await expect(networkArgsFor('controller', 'http://controller.invalid')).rejects.toThrow();
});

test('a VM starts with the options of every isolation', async () => {
  using dir = temporaryDir();
  await createBaseImage({ tartHome: dir.path, name: 'base', user: 'admin', publicKey: '', sshPort: await freePort() });
  const tart = createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: dir.path });
  try {
    for (const isolation of ['nat', 'softnet', 'controller'] as const) {
      expect(await tart.clone('base', isolation)).toEqual({ ok: true });
      const args = await networkArgsFor(isolation, 'http://192.0.2.1');
      const run = await tart.startRun(isolation, { logFile: `${dir.path}/${isolation}.log`, args });
      expect(run.ok).toBe(true);
      await until(async () => (await tart.ip(isolation)).ok, `${isolation} has an address`, 30_000);
      await tart.remove(isolation);
    }
  } finally {
    await sweepSimulator(dir.path);
  }
});
