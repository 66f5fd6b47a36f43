import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { JsonLine } from '../../../cli/json-lines/json-lines.ts';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';

export const EXPO_BUILD = join(PROJECT_ROOT, 'cli/expo-build.ts');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Run {
  cwd?: string;
  /** Added to the variables of this process, which has none of the command's own. */
  env?: NodeJS.ProcessEnv;
  /** Standard input. */
  input?: string | Buffer;
}

const OWN = /^(EXPO_BUILD_|GITHUB_|XDG_CONFIG_HOME$|CI$)/;

/** What the command finds in its environment if the test names no more. */
export const cleanEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN.test(name)));

/**
 * Runs `expo-build` without a terminal until it ends. Under `--json`, rejects if standard output has anything
 * that is not of the schema.
 */
export const expoBuild = (args: readonly string[], { cwd, env, input = '' }: Run = {}) =>
  new Promise<Ended>((resolve) => {
    const child = execFile(
      process.execPath,
      [EXPO_BUILD, ...args],
      { cwd, env: { ...cleanEnv(), ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
    child.stdin?.on('error', () => {}); // it may end before it has read anything
    child.stdin?.end(input);
  }).then((ended) => {
    if (args.includes('--json')) jsonLinesOf(ended);
    return ended;
  });

/** Each line of standard output. Fails if one is not of the schema, or if there is anything else. */
export const jsonLinesOf = ({ stdout }: Pick<Ended, 'stdout'> & Partial<Ended>): JsonLine[] => {
  const lines = stdout.split('\n');
  if (lines.pop() !== '') throw new Error(`standard output does not end with a line break: ${stdout}`);
  return lines.map((line) => JsonLine.parse(JSON.parse(line)));
};
