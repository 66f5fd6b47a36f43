/** Opens an address in the browser of the person at this terminal. */
import { spawn } from 'node:child_process';

/**
 * The program of each system. `start` is a word of cmd alone, and takes its first quoted argument for a
 * title.
 */
const OPENERS: Partial<Record<NodeJS.Platform, readonly [program: string, ...args: string[]]>> = {
  darwin: ['open'],
  win32: ['cmd', '/d', '/c', 'start', '""'],
};

/** The address comes from a controller. Nothing in it may mean anything to cmd or be taken for an option. */
const HARMLESS = /^https?:\/\/[A-Za-z0-9.:[\]-]+(\/[A-Za-z0-9._~-]*)*$/;

/** False if no browser could be started. Resolves as soon as it has been. */
export async function openInBrowser(url: string): Promise<boolean> {
  if (!HARMLESS.test(url)) return false;
  const [program, ...args] = OPENERS[process.platform] ?? ['xdg-open'];
  const { EXPO_BUILD_KEY: _, ...env } = process.env;
  const child = spawn(program, [...args, url], {
    env,
    stdio: 'ignore',
    detached: true,
    windowsVerbatimArguments: true,
    windowsHide: true,
  });
  child.unref();
  return await new Promise((resolve) => {
    child.once('spawn', () => resolve(true));
    child.once('error', () => resolve(false));
  });
}
