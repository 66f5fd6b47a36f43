/** Tests `expo-worker shell` on a terminal, which script(1) makes, in a kept VM of the simulator. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'vitest';
import { AttemptJournal } from '../../../worker-agent/state/journal.ts';
import { agentHost } from '../factories/agent-host.ts';
import { anAssignment } from '../factories/assignment.ts';
import { until } from '../factories/until.ts';

const EXPO_WORKER = join(import.meta.dirname, '../../../worker-agent/expo-worker.ts');
const PATIENCE_MS = 60_000;
const ended = null;

/** A Mac without an agent, with a VM that a former run of the agent has left and that is to be kept. */
async function macWithKeptVm(options: { tiedKey: boolean }) {
  const host = await agentHost('http://127.0.0.1:9', {}, options);
  const vmName = 'tartbeat-worker-1-b1-1';
  await host.runVm(vmName);
  await until(() => isUp(host, vmName), 'the VM has an address', PATIENCE_MS);
  const dir = join(host.stateDir, 'b1-1');
  execFileSync('mkdir', ['-p', dir]);
  const journal = await AttemptJournal.create(dir, { assignment: anAssignment(), vmName, image: undefined });
  const kept = { untilMs: Date.now() + 600_000, forMs: 600_000, ended };
  await journal.update({ phase: 'result_ready', reported: true, kept });
  return { host, journal, kept };
}

function isUp(host: Awaited<ReturnType<typeof agentHost>>, vmName: string): boolean {
  try {
    return host.addressOf(vmName) !== '';
  } catch {
    return false;
  }
}

/** Runs the command on a terminal of this size. At the end it shows exit code and modes of the terminal. */
function onTerminal(configPath: string) {
  const command = `'${process.execPath}' '${EXPO_WORKER}' shell b1 --config '${configPath}'`;
  const script = `stty rows 30 cols 90; ${command}; echo "code=$?"; stty -a | tr ' ;' '\\n\\n' | grep -E '^-?(icanon|echo|isig)$' | tr '\\n' ' '; echo end`;
  const child = spawn('script', ['-qefc', script, '/dev/null'], { stdio: 'pipe' });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (printed += bytes));
  return {
    type: (text: string) => void child.stdin.write(text),
    shows: (what: string | RegExp) =>
      until(
        () => (typeof what === 'string' ? printed.includes(what) : what.test(printed)),
        String(what),
        PATIENCE_MS,
      ).catch((error) => {
        throw new Error(`${error.message}\n${JSON.stringify(printed)}`);
      }),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}
const RESTORED = /code=(\d+)\r+\nisig icanon echo end/;

for (const tiedKey of [false, true])
  test(`a terminal ${tiedKey ? 'by tart exec' : 'over SSH'}: its size, Ctrl-C, Ctrl-D, and it is as before afterwards`, async () => {
    const { host, journal, kept } = await macWithKeptVm({ tiedKey });
    await using _host = host;
    {
      using terminal = onTerminal(host.configPath);
      await terminal.shows('It is kept for');
      terminal.type('stty size; echo "term $TERM"\n');
      await terminal.shows(/30 90\r+\nterm dumb\r+\n/);
      // The program that prints this has the terminal, so Ctrl-C reaches it.
      terminal.type(`bash -c 'echo r""uns; exec sleep 300'; echo not-"here"\n`);
      await terminal.shows('runs');
      terminal.type('\x03');
      terminal.type('printf "\\033]0;title\\007\\033[2Jaf""ter\\n"\n');
      await terminal.shows(/\nafter\r+\n/);
      // Before its prompt, bash might not yet read Ctrl-D as the end.
      terminal.type(`PS1='rea''dy> '; (exit 3)\n`);
      await terminal.shows('ready> ');
      terminal.type('\x04');
      await terminal.shows(RESTORED);
      await terminal.shows('code=3');
    }
    {
      using terminal = onTerminal(host.configPath);
      await terminal.shows('It is kept for');
      terminal.type('echo beg""un\n');
      await terminal.shows('begun');
      await journal.update({ kept: { ...kept, ended: 'released' } });
      await terminal.shows('The VM is kept no longer: it was released.');
      await terminal.shows(RESTORED);
      await terminal.shows('code=1');
    }
  });
