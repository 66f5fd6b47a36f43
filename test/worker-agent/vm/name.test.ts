import { expect, test } from 'vitest';
import { parseVmName, vmNameOf } from '../../../worker-agent/vm/name.ts';

test('a name is read back as what it was made from, and only whole, by the worker it belongs to', () => {
  for (const key of [
    { workerId: 'mac-1', buildId: 'b-2-3', attempt: 4 },
    { workerId: 'w', buildId: '1', attempt: 1000 },
  ])
    expect(parseVmName(vmNameOf(key), key.workerId)).toEqual(key);
  const foreign = [
    'expo-build-vm',
    'tartbeat-mac-1-b1',
    'tartbeat-mac-1-b1-0',
    'tartbeat-mac-1-b1-1 ',
    'x-tartbeat-mac-1-b1-1',
    'tartbeat-mac-1-b1-1x',
    'tartbeat-mac-1--1',
  ];
  for (const other of foreign) expect(parseVmName(other, 'mac-1'), other).toBeNull();
  expect(parseVmName('tartbeat-mac-12-b1-1', 'mac-1')).toBeNull();
});
