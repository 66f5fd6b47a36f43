import { cpSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { anAssignment } from '../factories/assignment.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

test('an installation keeps its id, and learns its worker', async () => {
  using dir = temporaryDir();
  const first = await new StateFolder(dir.path).instance();
  await new StateFolder(dir.path).rememberWorker('w');
  expect(await new StateFolder(dir.path).instance()).toMatchObject({ instanceId: first.instanceId, workerId: 'w' });
});

test('a folder that was moved is the same installation; one that was copied is another, and goes on with nothing', async () => {
  using dir = temporaryDir();
  const [made, moved, copied] = ['made', 'moved', 'copied'].map((name) => join(dir.path, name)) as [
    string,
    string,
    string,
  ];
  const state = new StateFolder(made);
  const { instanceId } = await state.instance();
  await state.createAttempt(anAssignment(), 'vm');
  const claimId = await state.pendingClaimId();
  renameSync(made, moved);
  expect((await new StateFolder(moved).instance()).instanceId).toBe(instanceId);
  expect((await new StateFolder(moved).openAttempts()).journals).toHaveLength(1);
  cpSync(moved, copied, { recursive: true });
  const other = await new StateFolder(copied).instance();
  expect(other.instanceId).not.toBe(instanceId);
  expect((await new StateFolder(copied).instance()).instanceId).toBe(other.instanceId);
  expect((await new StateFolder(copied).openAttempts()).journals).toEqual([]);
  expect(await new StateFolder(copied).pendingClaimId()).not.toBe(claimId);
});

test('a claim has the same id until it is answered with an assignment', async () => {
  using dir = temporaryDir();
  const state = new StateFolder(dir.path);
  expect(await state.unansweredClaimId()).toBeNull();
  const claimId = await state.pendingClaimId();
  expect(await new StateFolder(dir.path).pendingClaimId()).toBe(claimId);
  expect(await state.unansweredClaimId()).toBe(claimId);
  await state.forgetClaim();
  expect(await state.pendingClaimId()).not.toBe(claimId);
});

test('an attempt is found again as it was written, tokens included, readable by its owner alone', async () => {
  using dir = temporaryDir();
  const state = new StateFolder(dir.path);
  const journal = await state.createAttempt(anAssignment(), 'vm');
  await journal.update({ phase: 'booted', run: { pid: 7, startTime: 'then' } });
  const { journals, damaged } = await new StateFolder(dir.path).openAttempts();
  expect(damaged).toEqual([]);
  expect(journals[0]!.state).toEqual(journal.state);
  expect(journals[0]!.state).toMatchObject({ vmName: 'vm', phase: 'booted', assignment: anAssignment() });
  expect(statSync(join(journal.dir, 'journal.json')).mode & 0o777).toBe(0o600);
  expect(statSync(journal.dir).mode & 0o777).toBe(0o700);
});

test('a journal that cannot be read is set aside and named', async () => {
  using dir = temporaryDir();
  mkdirSync(join(dir.path, 'b-1'));
  writeFileSync(join(dir.path, 'b-1', 'journal.json'), '{"half');
  const state = new StateFolder(dir.path);
  expect(await state.openAttempts()).toEqual({ journals: [], damaged: ['b-1'] });
  expect(await state.openAttempts()).toEqual({ journals: [], damaged: [] });
});

test("a build's id cannot lead out of the folder", async () => {
  using dir = temporaryDir();
  const state = new StateFolder(join(dir.path, 'state'));
  for (const buildId of ['../x', 'a/b', '', '..', 'a b'])
    await expect(state.createAttempt(anAssignment({ buildId }), 'vm')).rejects.toThrow('not a plain build id');
  expect(readdirSync(dir.path)).toEqual([]);
});
