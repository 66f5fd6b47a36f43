/**
 * Records the output of a build, with the time of each line, for `npm run bench:progress`:
 *
 *   npm run -s bench:record -- build-1.log 'npm ci && npx expo export --platform ios'
 *
 * Each line begins with the seconds since the start in brackets. The last line is empty and marks the end.
 * The exit code is that of the command.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

const [file, command] = process.argv.slice(2);
if (!file || !command) {
  console.error("usage: npm run -s bench:record -- FILE 'COMMAND'");
  process.exit(64);
}
const out = createWriteStream(file);
const startedAt = performance.now();
const note = (text: string) => {
  const line = `[${((performance.now() - startedAt) / 1_000).toFixed(3)}] ${text}\n`;
  out.write(line);
  process.stdout.write(line);
};
// Both streams go to one log, as in a VM.
const child = spawn('bash', ['-c', `{ ${command}\n} 2>&1`], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, CI: '1' },
});
createInterface({ input: child.stdout }).on('line', note);
child.on('close', (exitCode) => {
  note('');
  out.end();
  process.exitCode = exitCode ?? 1;
});
