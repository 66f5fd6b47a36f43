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
npm run demo -- --fault NAME          the same, with something going wrong in the way
npm run demo -- --project DIR --command CMD [--artifact GLOB]...

Runs all of Tartbeat on this machine: the controller, an agent, and the Tart simulator in place of a Mac's VMs.

  --project DIR     build this folder instead; node_modules and .git stay behind
  --command CMD     what builds it, run by bash in the root of the project
  --artifact GLOB   a file to bring back, counted from the root of the project; may be repeated
  --output DIR      where artifacts go (default with --project: ${DEFAULT_OUTPUT})
  --fault NAME      ${FAULT_DEMO_NAMES.join(', ')}
  --keep            leave the temporary folder, with the controller's database and the agent's state
  --help            this text

Ctrl-C stops it and leaves nothing behind; a second one does so at once.
Exit code: 0 all went as it must, 1 it did not, 64 wrong usage, 69 something is missing here, 130 interrupted.
`;

/** Throws UsageError. Relative paths begin at `cwd`. */
export function parseDemoOptions(words: string[], cwd: string = process.env.INIT_CWD ?? process.cwd()): DemoOptions {
  const { help, keep, project, command, artifact, output, fault } = parse(words);
  const options = { help: help === true, keep: keep === true, outputDir: output ? resolve(cwd, output) : null };
  if (options.help) return { ...options, project: null, fault: null };
  for (const [name, value] of Object.entries({ project, command, output, fault, artifact: artifact?.find(isEmpty) }))
    if (value === '') throw new UsageError(`--${name} is empty`);
  if (fault !== undefined && !isFault(fault))
    throw new UsageError(`--fault: there is no ${fault}; give one of ${FAULT_DEMO_NAMES.join(', ')}`);
  if (project === undefined) {
    if (command !== undefined) throw new UsageError('--command: name the folder that it builds with --project');
    if (artifact !== undefined)
      throw new UsageError('--artifact: name the folder that it is built from with --project');
    return { ...options, project: null, fault: fault ?? null };
  }
  if (command === undefined) throw new UsageError('--project: say what builds it with --command');
  if (fault !== undefined) throw new UsageError('--fault: is shown with the sample project; leave out --project');
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
  if (output && !output.isDirectory()) throw new UsageError(`--output: ${outputDir} is there and not a folder`);
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
