import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { HEALTH_CHECK_IDS } from '#contract';
import { HOST_CHECKS } from '../../../worker-agent/health-checks/check-up.ts';
import {
  blockingFailure,
  fail,
  type HealthCheck,
  pass,
  runChecks,
  warn,
} from '../../../worker-agent/health-checks/run-checks.ts';
import { VM_CHECKS } from '../../../worker-agent/health-checks/vm-checks-before-build.ts';

type Run = HealthCheck<null>['run'];
const check = (id: string, run: Run, more: Partial<HealthCheck<null>> = {}): HealthCheck<null> => ({
  id,
  title: `is ${id} well`,
  blocking: true,
  dependsOn: [],
  timeoutMs: 10_000,
  fix: `repair ${id}`,
  run,
  ...more,
});
const run = (checks: HealthCheck<null>[], signal = new AbortController().signal) => runChecks(checks, null, { signal });
const statuses = async (checks: HealthCheck<null>[]) =>
  Object.fromEntries((await run(checks)).map(({ id, status }) => [id, status]));

test('each check has one result, with advice only where there is something to do', async () => {
  const results = await run([
    check('a', async () => pass('fine')),
    check('b', async () => warn('so so')),
    check('c', async () => fail('bad', 'do this')),
  ]);
  expect(results.map(({ id, status, detail, fix }) => [id, status, detail, fix])).toEqual([
    ['a', 'pass', 'fine', null],
    ['b', 'warn', 'so so', 'repair b'],
    ['c', 'fail', 'bad', 'do this'],
  ]);
  expect(blockingFailure(results)?.id).toBe('c');
});

test('what depends on a failure is skipped, to the end of the chain; on a warning it is not', async () => {
  const checks = [
    check('a', async () => fail('x')),
    check('b', async () => pass(''), { dependsOn: ['a'] }),
    check('c', async () => pass(''), { dependsOn: ['b'] }),
    check('d', async () => warn('')),
    check('e', async () => pass(''), { dependsOn: ['d'] }),
  ];
  expect(await statuses(checks)).toEqual({ a: 'fail', b: 'skipped', c: 'skipped', d: 'warn', e: 'pass' });
});

test('a check that throws is its own result', async () => {
  const [result] = await run([
    check('a', async () => {
      throw new Error('oops');
    }),
  ]);
  expect(result).toMatchObject({ status: 'fail', detail: 'oops' });
});

test('a check that hangs fails at its limit, whether it listens to its signal or not', async () => {
  const deaf = check('deaf', () => new Promise(() => {}), { timeoutMs: 30 });
  const listening = check('listening', (_, signal) => sleep(60_000, pass(''), { signal }), { timeoutMs: 30 });
  for (const result of await run([deaf, listening]))
    expect(result).toMatchObject({ status: 'fail', detail: 'no answer within 0.03 s' });
});

test('a try without an answer is repeated until the limit of the check', async () => {
  const slowAtFirst = (slow: number, answered = 0) =>
    check('slow', () => (++answered > slow ? Promise.resolve(pass('at last')) : new Promise(() => {})), {
      timeoutMs: 60_000,
      tryMs: 20,
    });
  expect(await run([slowAtFirst(2)])).toMatchObject([{ status: 'pass', detail: 'at last' }]);
  const never = check('never', () => new Promise(() => {}), { timeoutMs: 60_000, tryMs: 20 });
  const options = { signal: new AbortController().signal, mostMs: 90 };
  expect(await runChecks([never], null, options)).toMatchObject([
    { status: 'fail', detail: 'no answer within 0.09 s' },
  ]);
});

test('what answers over SSH is asked more than once before it counts as hung', () => {
  const overSsh = VM_CHECKS.filter(({ id }) => !['vm_exists', 'vm_address'].includes(id));
  for (const { timeoutMs, tryMs } of overSsh) expect(tryMs! * 2).toBeLessThanOrEqual(timeoutMs);
});

test('the caller can stop them, and is told why', async () => {
  const stop = new AbortController();
  const running = run([check('a', () => new Promise(() => {}))], stop.signal);
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
});

test('a failure that does not block does not count as one', async () => {
  expect(blockingFailure(await run([check('a', async () => fail('x'), { blocking: false })]))).toBeNull();
});

test("the VM's checks are the contract's list, each known once and after what it depends on", () => {
  expect(VM_CHECKS.map(({ id }) => id).sort()).toEqual([...HEALTH_CHECK_IDS].sort());
  for (const list of [VM_CHECKS, HOST_CHECKS] as unknown as HealthCheck<never>[][]) {
    const seen = new Set<string>();
    for (const { id, dependsOn, fix, title } of list) {
      expect(dependsOn.filter((other) => !seen.has(other))).toEqual([]);
      expect(seen.has(id)).toBe(false);
      expect(fix && title).toBeTruthy();
      seen.add(id);
    }
  }
});
