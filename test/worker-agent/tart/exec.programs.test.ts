import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { faultNextClone, setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { TART_SIMULATOR_PATH } from '../../../worker-agent/tart-simulator/simulator.ts';
import { testWith } from '../../set-up/test-with.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { BASE, simulatedMac } from '../tart-simulator/simulated-mac.ts';

const onTerminal = testWith('script');
const LONG_MS = 60_000;
const tartOf = (mac: { home: string }) => createTart({ tartPath: TART_SIMULATOR_PATH, tartHome: mac.home });

test('a command in the VM answers with its output and its own exit code', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const { exec } = tartOf(mac);
  const asked = (code: number) => exec('vm', ['sh', '-c', `echo seen; exit ${code}`], { limitMs: LONG_MS });
  for (const exitCode of [0, 1, 2, 7]) expect(await asked(exitCode)).toEqual({ ok: true, exitCode, stdout: 'seen' });
});

test('a VM that does not run, has no guest agent or hangs is told apart', async () => {
  await using mac = await simulatedMac();
  const { exec } = tartOf(mac);
  const alive = (name: string, limitMs = LONG_MS) => exec(name, ['true'], { limitMs });
  await mac.tart('clone', BASE, 'stopped');
  expect(await alive('ghost')).toMatchObject({ ok: false, step: 'exec', kind: 'not_found' });
  expect(await alive('stopped')).toMatchObject({ ok: false, kind: 'not_running' });
  faultNextClone(mac.home, 'no-guest-agent');
  await mac.boot('vm');
  expect(await alive('vm')).toMatchObject({
    ok: false,
    kind: 'no_guest_agent',
    message: expect.stringContaining('is the Tart Guest Agent running?'),
  });
  expect(await alive('vm', 500)).toMatchObject({ ok: false, kind: 'timeout' });
  setFault(mac.home, 'vm', 'exec-hang');
  expect(await alive('vm', 500)).toMatchObject({ kind: 'timeout', message: 'tart exec did not end within 0.5 s' });
});

test('words of a command that fails are not taken for words of Tart', async () => {
  using scripted = scriptedTart({ exec: 'echo "VM is not running" >&2; exit 3' });
  expect(await scripted.tart.exec('vm', ['x'], { limitMs: LONG_MS })).toEqual({ ok: true, exitCode: 3, stdout: '' });
});

test('a tart that is not there, or that a signal ends, has not answered', async () => {
  const none = createTart({ tartPath: '/nowhere/tart' });
  expect(await none.exec('vm', ['true'], { limitMs: LONG_MS })).toMatchObject({ ok: false, kind: 'no_tart' });
  expect(await none.execOnTerminal('vm', ['true'])).toMatchObject({ ok: false, kind: 'no_tart' });
  using scripted = scriptedTart({ exec: 'kill -KILL $$' });
  expect(await scripted.tart.exec('vm', ['true'], { limitMs: LONG_MS })).toMatchObject({ ok: false, kind: 'failed' });
});

onTerminal('a shell on the terminal of the agent has that terminal, and ends with its own exit code', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const program = `
    const { createTart } = await import(${JSON.stringify(join(import.meta.dirname, '../../../worker-agent/tart/tart.ts'))});
    const tart = createTart({ tartPath: ${JSON.stringify(TART_SIMULATOR_PATH)}, tartHome: ${JSON.stringify(mac.home)} });
    const ended = await tart.execOnTerminal('vm', ['sh', '-c', 'stty size; [ -t 0 ] && exit 5']);
    console.log(JSON.stringify(ended));`;
  const node = `${process.execPath} --disable-warning=ExperimentalWarning --input-type=module -e '${program.replaceAll("'", `'\\''`)}'`;
  const { stdout } = await execa('script', ['-qefc', `stty rows 33 columns 111; ${node}`, '/dev/null']);
  expect(stdout).toMatch(/33 111\r+\n\{"ok":true,"exitCode":5\}\s*$/);
});
