/**
 * Records what a build prints, with the time of each line, for `npm run bench:progress`:
 *
 *   npm run -s bench:record -- build-1.log 'npm ci && npx expo export --platform ios'
 *
 * Each line begins with the seconds since the start in brackets; a last, empty one is the end. Ends as the command does.
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
// Both streams as one, as in a VM's build log.
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
