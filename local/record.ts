/**
 * Runs `npm run record`: plays a Mac's first build on the simulator, and writes the terminal's output into
 * docs/first-build.md.
 *
 * Invariant: the real agent and the real controller printed everything that it writes. It changes one thing:
 * the folder that plays the account's home appears as /Users/builder. It says which lines it leaves out.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { WorkerInvited } from '#contract';
import { changeConfig } from '../worker-agent/config.ts';
import { createBaseImage } from '../worker-agent/tart-simulator/home/base-image.ts';
import { sweepSimulator, TART_SIMULATOR_PATH } from '../worker-agent/tart-simulator/simulator.ts';
import { startFarm } from './farm/farm.ts';
import { freePort } from './farm/free-port.ts';
import { PROJECT_ROOT } from './farm/project-root.ts';
import { SAMPLE_DIR, sampleRequest } from './farm/sample.ts';

const PAGE = join(PROJECT_ROOT, 'docs/first-build.md');
const PART = /(?<=<!-- recording -->\n)[\s\S]*(?=<!-- \/recording -->)/;
const SHOWN_HOME = '/Users/builder';
const BUILD_MS = 300_000;
const POLL_MS = 250;
const POLLS_MAX = 240;
/** Long enough for `expo-worker status` to show the build. */
const PAUSE_SECONDS = 8;

await using farm = await startFarm({ workers: 0 });
const home = join(farm.dir, 'home');
const bin = join(farm.dir, 'bin');
const tartHome = join(home, '.tart');
for (const folder of [home, bin]) mkdirSync(folder);
symlinkSync(TART_SIMULATOR_PATH, join(bin, 'tart'));
const worker = join(PROJECT_ROOT, 'worker-agent/expo-worker.ts');
writeFileSync(join(bin, 'expo-worker'), `#!/bin/sh\nexec '${process.execPath}' '${worker}' "$@"\n`, { mode: 0o755 });
const env = { HOME: home, PATH: `${bin}:${process.env.PATH}`, NO_COLOR: '1', TART_HOME: tartHome };
const configPath = join(home, '.expo-worker/config.json');

const recorded: string[] = [];
const say = (text: string) => {
  process.stdout.write(`${text}\n`);
  recorded.push(text);
};
const shell = (command: string) => execa('bash', ['-o', 'pipefail', '-c', command], { env, all: true, reject: false });

/** Runs a command as if somebody had typed it. The recording also shows if it fails. */
async function type(command: string): Promise<void> {
  const { all } = await shell(command);
  say(`$ ${command}\n${all}\n`);
}

try {
  const { worker: invited, enrolment } = await invite('mac-mini-1');
  const answers = '--vm-name expo-build-vm --vm-user builder --vm-ssh-key ~/.ssh/tart_vm_key';
  await type(`expo-worker init --controller ${farm.controller.url} --code ${enrolment.code} \\\n    ${answers}`);

  const sshPort = await freePort();
  await changeConfig(configPath, { vmSshPort: sshPort, vmIp: '192.168.64.2' });
  await type('expo-worker doctor --no-vm');

  say("# The base image is made (here: the simulator's), and vmIp is taken out of the config.\n");
  const publicKey = readFileSync(join(home, '.ssh/tart_vm_key.pub'), 'utf8');
  await createBaseImage({ tartHome, name: 'expo-build-vm-base-snapshot', user: 'builder', publicKey, sshPort });
  await changeConfig(configPath, { vmIp: undefined });
  await type('expo-worker doctor --pin-host-key | tail -n 15');

  const running = execa(join(bin, 'expo-worker'), ['run'], { env, all: true, reject: false });
  const request = sampleRequest({ pauseSeconds: PAUSE_SECONDS });
  const { id } = await farm.submit(request, SAMPLE_DIR);
  await farm.waitFor(id, ({ live }) => (live?.progress?.percent ?? 0) >= 25, { withinMs: BUILD_MS });
  const { all: status } = await shell('expo-worker status');
  await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: BUILD_MS });
  for (let polls = 0; (await farm.admin.worker(invited.id)).state !== 'idle' && polls < POLLS_MAX; polls++)
    await sleep(POLL_MS);
  running.kill('SIGINT');
  const { all: ran } = await running;
  say(`$ expo-worker run        # Ctrl-C when the build was over\n${ran}\n`);
  say(`$ expo-worker status        # in another window, while it was building\n${status}`);
  const { status: outcome } = await farm.api.build(id);
  if (outcome !== 'succeeded') throw new Error(`the build of ${invited.name} is ${outcome}`);
  write(recorded.join('\n'));
} finally {
  await sweepSimulator(tartHome);
}

async function invite(name: string) {
  const response = await fetch(`${farm.controller.url}/api/workers`, {
    method: 'POST',
    headers: { 'X-API-Key': farm.controller.secrets.ADMIN_KEY, 'Content-Type': 'application/json' },
    body: JSON.stringify({ name, credential: 'code' }),
  });
  return WorkerInvited.parse(await response.json());
}

function write(text: string): void {
  const only = 'only macOS has this';
  // The root of a simulated VM is a folder of this machine. The recording does not show that folder.
  const neutral = text.replaceAll(new RegExp(`${tartHome}/vms/[^/]+/guest(?=/)`, 'g'), '').replaceAll(home, SHOWN_HOME);
  const lines = neutral.split('\n');
  const first = lines.findIndex((line) => line.endsWith(only));
  const left = lines.filter((line) => line.endsWith(only)).length;
  const shown = lines.flatMap((line, index) =>
    line.endsWith(only)
      ? index === first
        ? [`  [${left} checks that only macOS can run are left out of this page]`]
        : []
      : [line.trimEnd()],
  );
  const page = shown.join('\n');
  for (const path of [farm.dir, PROJECT_ROOT, process.execPath])
    if (page.includes(path)) throw new Error(`${path} must not be shown`);
  writeFileSync(
    PAGE,
    readFileSync(PAGE, 'utf8').replace(PART, () => `\n\`\`\`text\n${page}\n\`\`\`\n\n`),
  );
}
