import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scriptedTart } from '../factories/scripted-tart.ts';

test('the MAC address of a clone comes from its config, as Tart has written it', async () => {
  using scripted = scriptedTart({});
  const config = (name: string, text: string) => {
    mkdirSync(join(scripted.dir, 'home', 'vms', name), { recursive: true });
    writeFileSync(join(scripted.dir, 'home', 'vms', name, 'config.json'), text);
  };
  config('a', '{"version":1,"macAddress":"7E:1:2:3:4:5"}');
  config('b', '{"version":1}');
  config('c', 'half a fi');
  config('e', '{"macAddress":"none"}');
  expect(await scripted.tart.macAddress('a')).toEqual({ ok: true, macAddress: '7E:1:2:3:4:5' });
  expect(await scripted.tart.macAddress('b')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('c')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('e')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('d')).toMatchObject({ kind: 'not_found' });
});
