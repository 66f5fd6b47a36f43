import { expect, test } from 'vitest';
import { PROCESS_COMMAND_MAX, PROCESSES_MAX } from '#contract';
import { parseProcesses } from '../../../worker-agent/guest/processes.ts';

const plain = (text: string) => text;
const listed = (rows: string[], build = 700) => `build=${build}\n${rows.join('\n')}\nwhole\n`;
const LEADER = '700 1 700    17:05   0.0 S    /bin/bash build.sh';

test('first come processes that wait for none of their own, then services that the build has started', () => {
  const mac = listed([
    '400 1 400 01:02:03   0.3 S    /System/Library/CoreServices/Dock.app/Contents/MacOS/Dock',
    LEADER,
    '701 700 700    17:05   0.0 S    /bin/bash -l /Users/admin/.tartbeat/b-1/build.sh',
    '812 701 700    17:04   0.0 S    /Applications/Xcode.app/Contents/Developer/usr/bin/xcodebuild -scheme App',
    '900 1 900    16:40   1.5 Ss   /usr/bin/java GradleDaemon',
    '850 812 850    16:59   0.0 S    /usr/bin/security unlock-keychain',
  ]);
  expect(parseProcesses(mac, plain)).toEqual([
    { pid: 850, elapsedMs: 1_019_000, cpuPercent: 0, state: 'S', command: '/usr/bin/security unlock-keychain' },
    { pid: 900, elapsedMs: 1_000_000, cpuPercent: 1.5, state: 'Ss', command: '/usr/bin/java GradleDaemon' },
    expect.objectContaining({ pid: 700 }),
    expect.objectContaining({ pid: 701 }),
    expect.objectContaining({ pid: 812 }),
  ]);
});

test.each([
  ['05:07', 307],
  ['01:00:00', 3_600],
  ['2-03:04:05', 183_845],
  ['00:00', 0],
])('a process that has run for %s has run for %i s', (elapsed, seconds) => {
  const rows = [`700 1 700 9-00:00:00 0.0 S sh`, `701 700 700 ${elapsed}  0.0 S+ sleep 600`];
  expect(parseProcesses(listed(rows), plain)![0]).toMatchObject({ pid: 701, elapsedMs: seconds * 1_000 });
});

test('a list that was cut short, or that lacks the build, is none', () => {
  const whole = listed([LEADER]);
  expect(parseProcesses(whole, plain)).toHaveLength(1);
  expect(parseProcesses(whole.slice(0, -1), plain)).toBeNull();
  expect(parseProcesses(listed([LEADER], 999), plain)).toBeNull();
  expect(parseProcesses('whole\n', plain)).toBeNull();
  expect(parseProcesses('', plain)).toBeNull();
});

test('secrets are taken out before a command is cut, and there are not too many processes', () => {
  const secret = 'hunter2-hunter2';
  const command = `${'x'.repeat(PROCESS_COMMAND_MAX - 5)}${secret} rest`;
  const rows = Array.from({ length: 2 * PROCESSES_MAX }, (_, index) => `${701 + index} 700 700 00:01 0.0 S ${command}`);
  const seen = parseProcesses(listed([LEADER, ...rows]), (text) => text.replaceAll(secret, '***'))!;
  expect(seen).toHaveLength(PROCESSES_MAX);
  for (const one of seen) expect(one.command).toBe(`${'x'.repeat(PROCESS_COMMAND_MAX - 5)}*** r`);
});
