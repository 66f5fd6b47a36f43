/**
 * Makes a Mac of stand-ins: commands that record their calls and answer as the test says, and a folder for
 * `/`.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createMac, type MacCommand, type MacOptions } from '../../../worker-agent/mac/programs.ts';
import { temporaryDir } from './temporary-dir.ts';
import { wholeLines } from './whole-lines.ts';

export function standInMac(options: MacOptions = {}) {
  const dir = temporaryDir();
  const commandDir = join(dir.path, 'commands');
  const root = join(dir.path, 'root');
  const calls = join(dir.path, 'calls');
  mkdirSync(commandDir);
  mkdirSync(root);
  const mac = createMac({ platform: 'darwin', uid: 501, user: 'admin', root, commandDir, ...options });
  return {
    mac,
    root,
    dir: dir.path,
    /** Adds a command, as a shell script. `$dir` is a folder in which it can keep things. */
    command(name: MacCommand, script: string) {
      const path = join(commandDir, name);
      writeFileSync(path, `#!/bin/sh\ndir='${dir.path}'\necho "${name} $*" >>'${calls}'\n${script}\n`);
      chmodSync(path, 0o755);
    },
    calls: () => wholeLines(calls),
    file(path: string, text: string) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
      return join(root, path);
    },
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}
