import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { leaveUnfinished, takeUnfinished } from '../../client/safe-files.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';

/** A process with this id runs on every system. */
const OTHER_PROCESS = 1;

test('an unfinished file stays with the process that is at work on it, and goes to the next call after a restart', async () => {
  using dir = temporaryDir();
  const unfinished = join(dir.path, '.a.partial');
  const others = `${unfinished}-${OTHER_PROCESS}.1`;
  writeFileSync(others, 'half');
  const empty = await takeUnfinished(unfinished);
  expect([existsSync(others), existsSync(empty)]).toEqual([true, false]);
  await leaveUnfinished(empty, unfinished);
  // Since then the system was started again, and another process got the id.
  utimesSync(others, 1, 1);
  const own = await takeUnfinished(unfinished);
  expect(existsSync(others)).toBe(false);
  expect(readFileSync(own, 'utf8')).toBe('half');
  await leaveUnfinished(own, unfinished);
  expect(readFileSync(unfinished, 'utf8')).toBe('half');
});
