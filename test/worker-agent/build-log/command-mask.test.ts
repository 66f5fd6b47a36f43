import { expect, test } from 'vitest';
import { commandMaskOf } from '../../../worker-agent/build-log/command-mask.ts';
import { parseProcesses } from '../../../worker-agent/guest/processes.ts';

const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');
const secret = (value: string) => ({ env: { TOKEN: value, OTHER: 'größer' }, secretNames: ['TOKEN'] });
const file = (content: string | Buffer) => ({ env: {}, secretNames: [], secretFiles: { key: base64(content) } });

test.each([
  // Printable ASCII: `ps` shows the secret as it is.
  [secret('hunter2-hunter2'), 'curl -u hunter2-hunter2 x', 'curl -u *** x'],
  [secret('first line\nsecond line'), 'curl -u first line\\012second line', 'curl -u ***\\012***'],
  [secret('first line\r\nsecond line\r\n'), 'curl second line', 'curl ***'],
  [file('a line of the key file\nanother line of it'), 'curl -d another line of it', 'curl -d ***'],
  // Any other character, or a backslash: `ps` may show it in another form.
  [secret('hünter2-hunter2'), 'curl -u hM-CM-<nter2-hunter2 x', 'curl'],
  [secret('hunter2\thunter2'), 'curl -u hunter2\\011hunter2 x', 'curl'],
  [secret('hunter2\\hunter2'), 'curl -u hunter2\\\\hunter2 x', 'curl'],
  [secret('hunter2\x7fhunter2'), 'curl -u hunter2^?hunter2 x', 'curl'],
  [secret('hunter2-hunter2\nzweite Zeile für'), 'curl -u zweite Zeile fM-CM-<r', 'curl'],
  [file('the key is schlüssel-1'), 'curl -d the key is schlM-CM-<ssel-1', 'curl'],
  [{ ...secret('hunter2'), others: ['tökentöken'] }, 'curl -u tM-CM-6kentM-CM-6ken', 'curl'],
  // The name of the program is masked too.
  [{ ...secret('hünter2-hunter2'), others: ['token-token'] }, '/tmp/token-token/run it', '/tmp/***/run'],
  // Too short for a secret, or a binary file, which is in no argument.
  [secret('kürz'), 'curl -u x', 'curl -u x'],
  [
    file(Buffer.from([0x30, 0x82, 0, 0xff, 0xfe, 9, 9, 9, 9, 9, 9])),
    'xcodebuild -scheme App',
    'xcodebuild -scheme App',
  ],
])('with the secrets %j, %j becomes %j', (secrets, command, expected) => {
  expect(commandMaskOf(secrets)(command)).toBe(expected);
});

test('nothing of a secret that ps encodes is left in the list of processes', () => {
  const listed =
    'build=700\n700 1 700 00:09 0.0 S /bin/bash build.sh\n701 700 700 00:01 0.0 S curl -u hM-CM-<nter2-x\nwhole\n';
  const seen = parseProcesses(listed, commandMaskOf(secret('hünter2-x')))!;
  expect(seen.map(({ command }) => command)).toEqual(['curl', '/bin/bash']);
});
