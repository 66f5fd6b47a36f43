import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Disarm, guard, writeCommands } from '../../../cli/github-actions/guard-output.ts';
import { workflowCommand } from '../../../cli/github-actions/workflow-commands.ts';
import { project } from '../../client/packing/trees.ts';
import { expoBuild, jsonLinesOf } from '../factories/expo-build.ts';
import { heard } from './github-commands.ts';
import { hostileCommands as hostile } from './hostile-commands.ts';

test('a command is one, whatever stands in its data and its properties', () => {
  fc.assert(
    fc.property(hostile, hostile, (data, title) => {
      const { obeyed } = heard(`${workflowCommand('error', data, { title, line: 3, col: undefined })}\n`);
      const properties = { ...(title !== '' && { title }), line: '3' };
      expect(obeyed).toEqual([{ name: 'error', properties, data }]);
    }),
  );
});

test('the runner obeys nothing that a guarded stream is given, however it is cut, and all that we want it to', async () => {
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(60), { maxLength: 6 }), (printed, cuts) => {
      const disarm = new Disarm();
      const at = [0, ...cuts.toSorted((a, b) => a - b), printed.length];
      const out = at.slice(1).map((end, index) => disarm.push(printed.slice(at[index], end)));
      expect(heard(out.join('')).obeyed).toEqual([]);
      expect(out.join('').replaceAll(' ', '')).toBe(printed.replaceAll(' ', ''));
    }),
  );
  const stream = new PassThrough();
  guard(stream);
  stream.write('one::two [##] std::vector\n é ::set-output name=id::x\n');
  stream.write(Buffer.from('é ##[set-output name=id]'));
  writeCommands(stream, [workflowCommand('group', 'Pods')]);
  stream.write('::add-mask::x');
  stream.end();
  const printed = await text(stream);
  expect(printed).toBe(
    'one::two [##] std::vector\n é : :set-output name=id::x\né ## [set-output name=id]\n::group::Pods\n: :add-mask::x',
  );
  expect(heard(printed).obeyed).toEqual([{ name: 'group', properties: {}, data: 'Pods' }]);
});

test('no name of a file is obeyed, whatever the command prints, and JSON keeps it', async () => {
  using it = project();
  const evil = '##[set-output name=id]evil.p12';
  it.tree.write({ 'package.json': '{}', [evil]: 'x', '::add-mask::x': '' }).committed();
  for (const env of [{ GITHUB_ACTIONS: 'true' }, {}]) {
    const ended = await expoBuild(['pack', '--list'], { cwd: it.path, env });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const names = heard(ended.stdout).obeyed.map(({ name }) => name);
    expect(names).toEqual('GITHUB_ACTIONS' in env ? [] : ['set-output', 'set-output']);
  }
  const ended = await expoBuild(['pack', '--list', '--json'], { cwd: it.path, env: { GITHUB_ACTIONS: 'true' } });
  expect(heard(ended.stdout).obeyed).toEqual([]);
  expect(jsonLinesOf(ended)).toContainEqual(expect.objectContaining({ type: 'file', path: evil }));
});
