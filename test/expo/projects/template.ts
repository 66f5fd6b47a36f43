/**
 * Makes an Expo project as `create-expo-app` begins it: npm's blank template, unpacked and unchanged, without
 * node_modules.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { extract } from 'tar';

const TEMPLATE = 'expo-template-blank@56.0.26';
const PACK_TIMEOUT_MS = 120_000;

/**
 * `install` is the command that installs its packages. npm leaves lock files out of what it packs, so usually
 * there is no lock file.
 */
export async function unpackTemplate(dir: string): Promise<{ projectDir: string; install: string }> {
  const args = ['pack', TEMPLATE, '--json', '--pack-destination', dir];
  const { stdout } = await execa('npm', args, { cwd: dir, timeout: PACK_TIMEOUT_MS });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  const projectDir = join(dir, 'project');
  mkdirSync(projectDir);
  await extract({ file: join(dir, filename), cwd: projectDir, strip: 1 });
  return { projectDir, install: existsSync(join(projectDir, 'package-lock.json')) ? 'npm ci' : 'npm install' };
}
