import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { anAssignment } from '../factories/assignment.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

test('updates made at once are all kept, and a phase never goes back', async () => {
  using dir = temporaryDir();
  const journal = await new StateFolder(dir.path).createAttempt(anAssignment(), 'vm');
  await Promise.all([
    journal.update({ phase: 'command_started' }),
    journal.update({ monitorRestarts: 2 }),
    journal.update({ phase: 'booted', contactAtMs: 5 }),
  ]);
  expect(journal.state).toMatchObject({ phase: 'command_started', monitorRestarts: 2, contactAtMs: 5 });
  expect(JSON.parse(readFileSync(join(journal.dir, 'journal.json'), 'utf8'))).toEqual(journal.state);
});

test('a removed attempt leaves nothing', async () => {
  using dir = temporaryDir();
  const journal = await new StateFolder(dir.path).createAttempt(anAssignment(), 'vm');
  await journal.remove();
  expect(readdirSync(dir.path)).toEqual([]);
});
