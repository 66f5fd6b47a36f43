/**
 * Finds the controller and the key: in EXPO_BUILD_URL and EXPO_BUILD_KEY, or as `expo-build login` has stored
 * them. Only this file reads and writes the file that stores them.
 *
 * Invariant: no setting comes from a project, and a key is sent only to the address that it was given with.
 */
import { chmod, mkdir, open, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { Connection } from '../client/request.ts';
import { CommandError } from './command-error.ts';

const Settings = z.strictObject({ url: z.string(), key: z.string() });
export type Settings = z.infer<typeof Settings>;

/** The controller that this person or this CI job uses. `signal` ends every call. */
export async function connect(signal?: AbortSignal): Promise<Connection> {
  return new Connection({ ...(await settings()), signal });
}

async function settings(): Promise<Settings> {
  const { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key } = process.env;
  if (key && !url)
    throw new CommandError(
      'EXPO_BUILD_KEY is set, and EXPO_BUILD_URL is not. Set both, because a key is sent only to its own controller.',
    );
  if (url && key) return { url: addressOf(url, 'EXPO_BUILD_URL'), key: keyOf(key, 'EXPO_BUILD_KEY') };
  const stored = await storedSettings();
  if (!url) {
    if (stored) return stored;
    throw new CommandError(
      'No controller is known here. Run `expo-build login`. In CI set EXPO_BUILD_URL and EXPO_BUILD_KEY.',
    );
  }
  const address = addressOf(url, 'EXPO_BUILD_URL');
  if (stored?.url === address) return stored;
  const there = stored ? `the stored key is for ${stored.url}` : 'no key is stored';
  throw new CommandError(
    `EXPO_BUILD_URL is ${address}, but EXPO_BUILD_KEY is not set or empty, and ${there}. Set EXPO_BUILD_KEY.`,
  );
}

/** Null if `login` has stored nothing. */
export async function storedSettings(): Promise<Settings | null> {
  const path = settingsPath();
  let text: string;
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if (hasModes && mode & 0o077)
      throw new CommandError(`${path} has a key, and others can read it. Run \`chmod 600 ${path}\`.`);
    text = await file.readFile('utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (error instanceof CommandError) throw error;
    throw new CommandError(`${path} cannot be read (${code}). Let your account read it.`);
  }
  const parsed = Settings.safeParse(jsonOf(text));
  if (!parsed.success) throw new CommandError(`${path} is damaged. Run \`expo-build login\`, which writes it anew.`);
  return { url: addressOf(parsed.data.url, path), key: keyOf(parsed.data.key, path) };
}

/** Returns where it has stored them. */
export async function storeSettings(settings: Settings): Promise<string> {
  const path = settingsPath();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
  await chmod(path, 0o600); // otherwise an existing file would keep its mode
  return path;
}

/** Returns whether there was something to forget. It reads nothing, so it also forgets a damaged file. */
export async function forgetSettings(): Promise<boolean> {
  try {
    await rm(settingsPath());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * The mode keeps other accounts out of the file. Windows has no modes: there the folder belongs to the
 * account.
 */
const hasModes = process.platform !== 'win32';

export function settingsPath(): string {
  const { APPDATA, XDG_CONFIG_HOME } = process.env;
  // A relative path would lead into the project.
  const [named, usual] = hasModes ? [XDG_CONFIG_HOME, '.config'] : [APPDATA, 'AppData/Roaming'];
  const base = named && isAbsolute(named) ? named : join(homedir(), usual);
  return join(base, 'expo-build', 'settings.json');
}

/**
 * The one form in which an address is stored and compared. `from` is the source of the text, for a refusal.
 * Plain HTTP would show the key to the network, so it is for this machine alone.
 */
export function addressOf(text: string, from: string): string {
  const refuse = (why: string) => new CommandError(`${from}: ${why}`);
  const given = text.trim();
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(given);
  const secure = URL.parse(hasScheme ? given : `https://${given}`);
  // A controller on this machine has no certificate.
  const url = secure && !hasScheme && isThisMachine(secure.hostname) ? URL.parse(`http://${given}`) : secure;
  if (!url?.hostname) throw refuse('is no address. Give one such as https://builds.example.com.');
  if (url.username || url.password) throw refuse('the address must not have a name or a password in it.');
  if (url.search || url.hash) throw refuse('the address must not have a `?` or a `#` in it.');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isThisMachine(url.hostname)))
    throw refuse(`must begin with https://. Only a controller on this machine may use http://.`);
  // Examples with curl have the address with /api.
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '').replace(/\/api$/, '');
}

const isThisMachine = (hostname: string) =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);

/**
 * Refuses a text that no header can carry. The message does not repeat it, because it may be most of a key.
 */
export function keyOf(text: string, from: string): string {
  const key = text.trim();
  if (/^[\x21-\x7e]{1,512}$/.test(key)) return key;
  throw new CommandError(`${from}: this is no key. A key is one word, such as tb_submit_… or tb_read_….`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
