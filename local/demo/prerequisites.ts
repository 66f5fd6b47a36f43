/**
 * Finds the programs and packages that the demo needs and this machine lacks. It imports nothing that `npm
 * ci` installs, so that it can report when that is missing.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const PLATFORMS = ['linux', 'darwin'];
const COMMANDS = ['bash', 'curl', 'tar', 'ps', 'df'];
const INSTALLED = ['execa', 'hono', 'miniflare', 'ssh2', 'wrangler', 'zod'];

/** Returns one sentence for each missing thing, with what to do. Empty if nothing is missing. */
export function missingPrerequisites(
  env: NodeJS.ProcessEnv = process.env,
  platform: string = process.platform,
): string[] {
  const missing: string[] = [];
  if (!PLATFORMS.includes(platform)) missing.push(`This machine runs ${platform}. Run the demo on Linux or macOS.`);
  for (const command of COMMANDS)
    if (!isOnPath(command, env))
      missing.push(`${command} is not on the PATH. Install it with your system's package manager.`);
  if (platform === 'linux' && !isOnPath('prlimit', env))
    missing.push('prlimit is not on the PATH. Install util-linux.');
  const modules = join(import.meta.dirname, '../..', 'node_modules');
  if (INSTALLED.some((name) => !existsSync(join(modules, name))))
    missing.push('The packages are not installed. Run `npm ci`.');
  return missing;
}

function isOnPath(command: string, env: NodeJS.ProcessEnv): boolean {
  return (env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}
