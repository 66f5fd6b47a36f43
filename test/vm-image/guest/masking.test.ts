/** Tests what of an engine's output and of Xcode's logs is hidden. Commands stand in for the engine. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../../set-up/test-with.ts';
import { until } from '../../worker-agent/factories/until.ts';
import { stateFolder } from '../factories/guest-script.ts';

const GUEST = join(import.meta.dirname, '../../../vm-image/guest');
const withBash = testWith('bash');

/** Runs commands of masking.sh for a build with these credentials. */
function start(state: string, commands: string, secrets: object, more: Record<string, string> = {}) {
  mkdirSync(join(state, 'tmp'), { recursive: true });
  const job = JSON.stringify({ job: { secrets, builderEnvironment: { env: more } } });
  const script = `state=$1 root= app_root=. engine_tmp=$1/tmp job=$2 node=${process.execPath} secret_env=$4
    . "$3/masking.sh"; input=$(printf '%s' "$job" | base64 | tr -d '\\n'); ${commands}`;
  const child = spawn('bash', ['-c', script, 'mask', state, job, GUEST, more.SHELL_LINES ?? ''], {
    cwd: state,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  const code = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const closed = new Promise<string>((resolve) => child.on('close', () => resolve(log)));
  const end = async () => ({ code: await code, log: await closed });
  return { log: () => log, end, group: -child.pid!, code };
}

const withPassword = (password: string) => ({ buildCredentials: { App: { distributionCertificate: { password } } } });

withBash(
  'a password is hidden in every form, lines keep their order, and the exit code is that of the command',
  async () => {
    using state = stateFolder();
    const password = `it's "a\\b" $x`;
    const forms = [password, JSON.stringify(password).slice(1, -1), String.raw`it\'s\ \"a\\b\"\ \$x`];
    writeFileSync(join(state.path, 'forms'), forms.map((form) => `with ${form}, then\n`).join(''));
    const commands =
      'engine() { echo one >&2; cat forms; echo two >&2; printf three; return 7; }; run_masked "$input" engine';
    const { code, log } = await start(state.path, commands, withPassword(password)).end();
    expect({ code, log }).toEqual({ code: 7, log: `one\n${'with ***, then\n'.repeat(3)}two\nthree` });
  },
);

withBash('a short password is hidden where it stands alone, and a word that contains it stays', async () => {
  using state = stateFolder();
  writeFileSync(
    join(state.path, 'text'),
    'certificate_password:android "android" com.android.tools android/app\nIs it android?\n',
  );
  const build = start(state.path, 'run_masked "$input" cat text', withPassword('android'));
  expect(await build.end()).toEqual({
    code: 0,
    log: 'certificate_password:*** "***" com.android.tools android/app\nIs it ***?\n',
  });
});

withBash('a password that comes in two pieces is hidden', async () => {
  using state = stateFolder();
  const commands =
    'engine() { printf "a pass"; read -r _ <go; echo word-of-p12.; }; mkfifo go; run_masked "$input" engine';
  const build = start(state.path, commands, withPassword('password-of-p12'));
  await until(() => build.log() === 'a ', 'what is no beginning of a secret is printed at once');
  writeFileSync(join(state.path, 'go'), '\n');
  expect(await build.end()).toEqual({ code: 0, log: 'a ***.\n' });
});

withBash('dots without a line end are printed while the command runs', async () => {
  using state = stateFolder();
  const build = start(state.path, 'run_masked "$input" bash -c "while :; do printf .; sleep 0.05; done"', {});
  await until(() => build.log().length > 20, 'dots');
  process.kill(build.group, 'SIGKILL');
});

withBash('a daemon that keeps the output open does not keep the build', async () => {
  using state = stateFolder();
  const commands = 'engine() { tail -f /dev/null & echo $! >daemon; echo done; return 3; }; run_masked "$input" engine';
  const build = start(state.path, `${commands}; code=$?; echo "code $code"`, {});
  await until(() => build.log() === 'done\ncode 3\n', 'the end of the command');
  process.kill(Number(readFileSync(join(state.path, 'daemon'), 'utf8')), 'SIGKILL');
});

withBash('what the command prints after TERM is printed too', async () => {
  using state = stateFolder();
  const engine = `engine() { exec node -e 'process.on("SIGTERM", () => { console.log("last words"); process.exit(0); }); setInterval(() => {}, 1000); console.log("ready")'; }`;
  const build = start(state.path, `${engine}; run_masked "$input" engine`, {});
  await until(() => build.log() === 'ready\n', 'the command runs');
  process.kill(build.group, 'SIGTERM');
  expect((await build.end()).log).toBe('ready\nlast words\n');
});

withBash("Xcode's logs have no secret as it is or as Xcode writes it, nor what Expo has sent", async () => {
  using state = stateFolder();
  mkdirSync(join(state.path, 'source'));
  writeFileSync(join(state.path, 'source/eas.json'), '{"build":{"it":{"env":{"NODE_ENV":"production"}}}}');
  const log = join(state.path, 'xcode.log');
  writeFileSync(
    log,
    String.raw`export API\=pa\$\$\ word
export API=pa$$ word
export LINES\=first\ line
export FROM_EXPO\=kept\ by\ expo
export NODE_ENV\=production
export SHORT\=abc
-P shorty
`,
  );
  const secrets = {
    ...withPassword('shorty'),
    environmentSecrets: [
      { name: 'API', value: 'pa$$ word', type: 'string' },
      { name: 'SHORT', value: 'abc', type: 'string' },
    ],
  };
  const commands = `keep_texts_of_expo "$input" && job= && mask_files xcode.log`;
  const build = start(state.path, commands, secrets, {
    FROM_EXPO: 'kept by expo',
    NODE_ENV: 'production',
    SHELL_LINES: "export LINES='first line\nsecond line'",
  });
  expect(await build.end()).toEqual({ code: 0, log: '' });
  expect(statSync(join(state.path, 'tmp/texts-of-expo.json')).mode & 0o777).toBe(0o600);
  expect(readFileSync(log, 'utf8')).toBe(String.raw`export API\=***
export API=***
export LINES\=***
export FROM_EXPO\=***
export NODE_ENV\=production
export SHORT\=abc
-P ***
`);
});
