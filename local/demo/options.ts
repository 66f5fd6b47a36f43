/** Parses the demo's command line: takes the arguments, and returns options or throws a UsageError. */
import { type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const FAULT_DEMO_NAMES = ['freeze', 'crash', 'disk-full', 'no-ssh'] as const;
export type FaultDemoName = (typeof FAULT_DEMO_NAMES)[number];

export interface ProjectOptions {
  dir: string;
  command: string;
  artifacts: string[];
}

export interface DemoOptions {
  help: boolean;
  keep: boolean;
  /** Null means the sample project. */
  project: ProjectOptions | null;
  fault: FaultDemoName | null;
  /** The folder for the artifacts. Null means that the demo only verifies them. */
  outputDir: string | null;
}

export class UsageError extends Error {
  override name = 'UsageError';
}

const DEFAULT_OUTPUT = 'tartbeat-artifacts';

export const HELP = `npm run demo                          builds the sample project and verifies its artifact
npm run demo -- --fault NAME          builds it and injects a fault on the way
npm run demo -- --project DIR --command CMD [--artifact GLOB]...

Runs all of Tartbeat on this machine: the controller, an agent, and the Tart simulator in place of a Mac's VMs.

  --project DIR     build this folder instead, without node_modules and .git
  --command CMD     the build command, which bash runs in the root of the project
  --artifact GLOB   a file to bring back, from the root of the project; may be repeated
  --output DIR      folder for the artifacts (default with --project: ${DEFAULT_OUTPUT})
  --fault NAME      ${FAULT_DEMO_NAMES.join(', ')}
  --keep            keep the temporary folder, with the controller's database and the agent's state
  --help            show this text

The demo builds with a command, not with a profile of eas.json: the simulated VMs have no Xcode, no Android SDK
and no build engine of Expo. docs/first-build.md shows how a profile is built on a Mac.

Ctrl-C stops the demo and leaves nothing behind. A second Ctrl-C stops it at once.
Exit code: 0 success, 1 a build or a check failed, 64 wrong usage, 69 this machine lacks something, 130 interrupted.
`;

/** Throws UsageError. Relative paths begin at `cwd`. */
export function parseDemoOptions(words: string[], cwd: string = process.env.INIT_CWD ?? process.cwd()): DemoOptions {
  const { help, keep, project, command, artifact, output, fault } = parse(words);
  const options = { help: help === true, keep: keep === true, outputDir: output ? resolve(cwd, output) : null };
  if (options.help) return { ...options, project: null, fault: null };
  for (const [name, value] of Object.entries({ project, command, output, fault, artifact: artifact?.find(isEmpty) }))
    if (value === '') throw new UsageError(`--${name} is empty; give a value or leave it out`);
  if (fault !== undefined && !isFault(fault))
    throw new UsageError(`--fault: there is no fault ${fault}; give one of ${FAULT_DEMO_NAMES.join(', ')}`);
  if (project === undefined) {
    if (command !== undefined)
      throw new UsageError('--command: also give --project, the folder that the command builds');
    if (artifact !== undefined) throw new UsageError('--artifact: also give --project, the folder that is built');
    return { ...options, project: null, fault: fault ?? null };
  }
  if (command === undefined) throw new UsageError('--project: also give --command, which builds the folder');
  if (fault !== undefined)
    throw new UsageError('--fault: faults are shown with the sample project only; leave out --project');
  return {
    ...options,
    project: { dir: resolve(cwd, project), command, artifacts: artifact ?? [] },
    fault: null,
    outputDir: options.outputDir ?? resolve(cwd, DEFAULT_OUTPUT),
  };
}

/** Checks the folders on disk. Throws UsageError before anything is started. */
export function checkFolders({ project, outputDir }: DemoOptions): void {
  if (project && !lookAt(project.dir)?.isDirectory())
    throw new UsageError(`--project: ${project.dir} is not a folder; name the root of a project`);
  const output = outputDir && lookAt(outputDir);
  if (output && !output.isDirectory())
    throw new UsageError(`--output: ${outputDir} exists and is not a folder; name a folder`);
}

function lookAt(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

const isEmpty = (text: string): boolean => text === '';
const isFault = (name: string): name is FaultDemoName => (FAULT_DEMO_NAMES as readonly string[]).includes(name);

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        help: { type: 'boolean', short: 'h' },
        keep: { type: 'boolean' },
        project: { type: 'string' },
        command: { type: 'string' },
        artifact: { type: 'string', multiple: true },
        output: { type: 'string' },
        fault: { type: 'string' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
