import { execa } from 'execa';
import { expect, test } from 'vitest';
import { within } from '../../client/retry.ts';

const RETRY = new URL('../../client/retry.ts', import.meta.url).href;
const never = new Promise<never>(() => {});

test('work that ends in time gives its value, and work that does not gives none', async () => {
  expect(await within(Promise.resolve('done'), 60_000)).toBe('done');
  expect(await within(never, 1)).toBeUndefined();
});

test('work that fails rejects, and so does a signal', async () => {
  await expect(within(Promise.reject(new Error('broken')), 60_000)).rejects.toThrow('broken');
  const stop = new AbortController();
  const waiting = within(never, 60_000, stop.signal);
  stop.abort(new Error('stopped'));
  await expect(waiting).rejects.toThrow('stopped');
});

test('a process need not wait for the rest of the time', async () => {
  const program = `import { within } from '${RETRY}'; await within(Promise.resolve(), 3_600_000); console.log('ended');`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', program], { timeout: 50_000 });
  expect(stdout).toBe('ended');
});
