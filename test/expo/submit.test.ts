/**
 * Takes a fresh project of npm's template from its folder to an app on the disk, with two commands. All is
 * real but macOS: the controller, the agent, the guest scripts in a simulated VM, and Expo's engine. With
 * RECORD=1 it writes what the terminal showed into docs/expo-build.md.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { startFarm } from '../../local/farm/farm.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { prepareImage } from './factories/engine-image.ts';
import { unpackTemplate } from './projects/template.ts';

const PAGE = join(PROJECT_ROOT, 'docs/expo-build.md');
const PART = /(?<=<!-- recording -->\n)[\s\S]*(?=<!-- \/recording -->)/;
const SHOWN_URL = 'http://localhost:3000';
const EAS_JSON = { build: { production: { ios: { simulator: true } } } };
/** The number of lines of the log that are shown at its beginning. END is the number at its end. */
const BEGIN = 6;
const END = 5;

test('a fresh project goes to its app with `login` and `submit`', async () => {
  using dir = temporaryDir();
  const { projectDir } = await unpackTemplate(dir.path);
  const at = (name: string) => join(projectDir, name);
  const { expo } = JSON.parse(readFileSync(at('app.json'), 'utf8')) as { expo: { ios?: object } };
  expo.ios = { ...expo.ios, bundleIdentifier: 'dev.example.shop' };
  writeFileSync(at('app.json'), JSON.stringify({ expo }));
  writeFileSync(at('eas.json'), JSON.stringify(EAS_JSON));
  // Makes a lock file. create-expo-app leaves one too.
  execFileSync('npm', ['install', '--package-lock-only', '--ignore-scripts'], { cwd: projectDir, stdio: 'pipe' });
  const git = (...args: string[]) => execFileSync('git', args, { cwd: projectDir, stdio: 'pipe' });
  git('init', '-q', '-b', 'main');
  git('add', '.');
  git('-c', 'user.name=Somebody', '-c', 'user.email=somebody@example.com', 'commit', '-qm', 'A fresh project');

  await using farm = await startFarm({ startAgents: false });
  const { folder, env } = await prepareImage(farm.mac(), dir.path, 'none');
  const npmCache = process.env.npm_config_cache ?? join(homedir(), '.npm');
  // The stand-ins belong to the image, as the programs themselves do on a Mac.
  const ofImage = { ...env, npm_config_cache: npmCache, EAS_BUILD_DISABLE_BUNDLE_JAVASCRIPT_STEP: '1' };
  const vms = join(farm.mac().tartHome, 'vms');
  for (const image of readdirSync(vms))
    for (const [name, value] of Object.entries(ofImage))
      appendFileSync(join(vms, image, 'guest/Users/admin/.bash_profile'), `export ${name}='${value}'\n`);
  await farm.startAgent();

  const home = join(dir.path, 'home');
  const bin = join(dir.path, 'bin');
  for (const one of [home, bin]) mkdirSync(one);
  const command = `#!/bin/sh\nexec '${process.execPath}' '${join(PROJECT_ROOT, 'cli/expo-build.ts')}' "$@"\n`;
  writeFileSync(join(bin, 'expo-build'), command, { mode: 0o755 });
  writeFileSync(join(home, 'key.txt'), farm.controller.secrets.ADMIN_KEY);
  const variables = { HOME: home, XDG_CONFIG_HOME: join(home, '.config'), PATH: `${bin}:${process.env.PATH}` };
  const recorded: string[] = [];
  const type = async (line: string) => {
    const { all, exitCode } = await execa('bash', ['-c', line], {
      ...{ cwd: projectDir, env: variables, all: true, reject: false },
    });
    recorded.push(`$ ${line}\n${all}\n`);
    expect(exitCode, all).toBe(0);
    return all;
  };
  await type(`expo-build login --url ${farm.controller.url} --key-stdin <~/key.txt`);
  const said = await type('expo-build submit');
  const [id] = /b_[a-z0-9]+/.exec(said)!;
  const [app] = readdirSync(at(`expo-build-${id}`)).filter((name) => name.endsWith('.app.tar.gz'));
  expect(existsSync(at(`expo-build-${id}/${app}`))).toBe(true);
  expect(execFileSync('tar', ['-tzf', at(`expo-build-${id}/${app}`)], { encoding: 'utf8' })).toContain('.app/');
  expect(readFileSync(join(folder, 'calls'), 'utf8')).toContain('fastlane gym');

  const { all: again, exitCode } = await execa('expo-build', ['submit', '--no-wait'], {
    ...{ cwd: projectDir, env: variables, all: true, reject: false },
  });
  expect([exitCode, again]).toEqual([0, expect.stringContaining('Unchanged since the last upload: 0 bytes sent.')]);
  // The root of a simulated VM is a folder of this machine.
  const shown = recorded.join('\n').replaceAll(new RegExp(`${farm.mac().tartHome}/vms/[^/]+/guest(?=/)`, 'g'), '');
  if (process.env.RECORD) record(shown, { [farm.controller.url]: SHOWN_URL, [home]: '/home/you' });
}, 600_000);

/** Replaces values of this machine, and says how many lines of the log it leaves out. */
function record(text: string, shownAs: Record<string, string>): void {
  const neutral = Object.entries(shownAs).reduce((page, [real, shown]) => page.replaceAll(real, shown), text);
  const lines = neutral.split('\n').map((line) => line.trimEnd());
  const begin = lines.findIndex((line) => line.endsWith('Its VM starts.')) + 1 + BEGIN;
  const end = lines.findIndex((line) => /: Succeeded after /.test(line)) - END;
  const left = `  [${end - begin} lines of the log are left out of this page]`;
  const page = [...lines.slice(0, begin), left, ...lines.slice(end)].join('\n').trimEnd();
  for (const path of [PROJECT_ROOT, process.execPath, homedir(), tmpdir()])
    if (page.includes(path)) throw new Error(`${path} must not be shown`);
  writeFileSync(
    PAGE,
    readFileSync(PAGE, 'utf8').replace(PART, () => `\n\`\`\`text\n${page}\n\`\`\`\n\n`),
  );
}
