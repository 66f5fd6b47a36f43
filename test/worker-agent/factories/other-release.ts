/**
 * Makes another release of the agent: a copy of its sources, in which the guest scripts have another version.
 * Each of its scripts says in the guest that it ran: a line in ~/.tartbeat/ran.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryDir } from './temporary-dir.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const COPIED = ['worker-agent', 'client', 'log-reader', 'controller', 'vm-image', 'package.json'];

/**
 * The part of a version after its number: the start of a SHA-256 over all files but `version`, as install.sh
 * takes it.
 */
export function digestOfScripts(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort())
    if (name !== 'version') hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  return hash.digest('hex').slice(0, 16);
}

export function otherRelease({ number }: { number: number }) {
  const dir = temporaryDir();
  for (const name of COPIED) cpSync(join(ROOT, name), join(dir.path, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir.path, 'node_modules'));
  const scripts = join(dir.path, 'vm-image/guest');
  appendFileSync(join(scripts, 'lib.sh'), '\necho "$0" >>"$HOME/.tartbeat/ran"\n');
  const version = `${number}-${digestOfScripts(scripts)}`;
  writeFileSync(join(scripts, 'version'), `${version}\n`);
  return {
    version,
    /** Its expo-worker. */
    entry: join(dir.path, 'worker-agent/expo-worker.ts'),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}
