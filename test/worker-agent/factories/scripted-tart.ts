/**
 * Makes an executable `tart` that runs a shell script of the test for each subcommand, where neither Tart nor
 * its simulator can be made to do what the test needs. `$HOME_DIR` is a folder for its state; each call is
 * one line in `calls`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TartStep } from '../../../worker-agent/tart/answers.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { temporaryDir } from './temporary-dir.ts';
import { wholeLines } from './whole-lines.ts';

export function scriptedTart(commands: Record<string, string>, limitsMs: Partial<Record<TartStep, number>> = {}) {
  const dir = temporaryDir();
  const tartPath = join(dir.path, 'tart');
  const cases = Object.entries(commands).map(([name, script]) => `${name}) ${script} ;;`);
  const script = `#!/bin/sh
HOME_DIR='${dir.path}'
echo "$*" >>"$HOME_DIR/calls"
case "$1" in
${cases.join('\n')}
*) echo "unexpected: $*" >&2; exit 64 ;;
esac
`;
  writeFileSync(tartPath, script, { mode: 0o755 });
  return {
    dir: dir.path,
    tartPath,
    tart: createTart({ tartPath, tartHome: join(dir.path, 'home'), limitsMs }),
    calls: () => wholeLines(join(dir.path, 'calls')),
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}
