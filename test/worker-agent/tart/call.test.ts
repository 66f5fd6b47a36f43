import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';

test('a tart that is not there is told as that', async () => {
  const tart = createTart({ tartPath: '/nowhere/tart' });
  expect(await tart.list()).toMatchObject({ kind: 'no_tart', message: expect.stringContaining('/nowhere/tart') });
  using scripted = scriptedTart({});
  expect(await tart.startRun('x', { logFile: join(scripted.dir, 'log') })).toMatchObject({ kind: 'no_tart' });
});

test('a tart that hangs is left when the signal says so', async () => {
  using scripted = scriptedTart({ list: 'exec sleep 300' });
  const abort = new AbortController();
  const listing = scripted.tart.list(abort.signal);
  await until(() => scripted.calls().length > 0, 'tart runs');
  abort.abort();
  expect(await listing).toMatchObject({ ok: false, kind: 'aborted' });
});

test('a tart that hangs is killed at its limit, even if a child of it holds on to its output', async () => {
  using scripted = scriptedTart({ list: 'sleep 20 & exec sleep 300', get: '' });
  const { tartPath } = scripted;
  const tart = createTart({ tartPath, limitsMs: { list: 200 } });
  expect(await tart.list()).toMatchObject({
    ok: false,
    step: 'list',
    kind: 'timeout',
    message: expect.stringContaining('0.2 s'),
  });
});

test('a process that has given up a tart ends, though a child of that tart holds on to its output', async () => {
  using scripted = scriptedTart({
    list: '(while [ -d "$HOME_DIR" ]; do sleep 0.1; done) & exec sleep 300',
  });
  const module = new URL('../../../worker-agent/tart/tart.ts', import.meta.url).href;
  const script = `import { createTart } from '${module}';
    const tart = createTart({ tartPath: ${JSON.stringify(scripted.tartPath)}, limitsMs: { list: 200 } });
    console.log((await tart.list()).kind);`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 });
  expect(stdout).toBe('timeout');
});

test('a tart that never stops printing is garbage, and is not asked again', async () => {
  using scripted = scriptedTart({ list: 'exec yes' });
  expect(await scripted.tart.list()).toMatchObject({ ok: false, kind: 'garbage' });
  expect(scripted.calls()).toHaveLength(1);
});
