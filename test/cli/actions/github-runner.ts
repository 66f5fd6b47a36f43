/**
 * Runs action.yml in a job as the runner of GitHub does: inputs and their defaults, the few expressions that
 * it has, its steps under bash, the commands that they print and the files that they write.
 *
 * It throws for everything that it does not know. So tests have run every feature that action.yml uses.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { parse } from 'yaml';
import { z } from 'zod';
import { PROJECT_ROOT } from '../../../local/farm/project-root.ts';
import { cleanEnv } from '../factories/expo-build.ts';
import { type GithubCommand, GithubCommands, valuesIn } from './github-commands.ts';
import { type GithubJob, githubEnv } from './github-events.ts';

const Action = z.strictObject({
  name: z.string(),
  description: z.string(),
  branding: z.object({ icon: z.string(), color: z.string() }),
  inputs: z.record(
    z.string(),
    z.strictObject({ description: z.string(), required: z.boolean().default(false), default: z.string().default('') }),
  ),
  outputs: z.record(z.string(), z.strictObject({ description: z.string(), value: z.string() })),
  runs: z.strictObject({
    using: z.literal('composite'),
    steps: z.array(
      z.strictObject({
        name: z.string(),
        id: z.string().optional(),
        if: z.string().optional(),
        uses: z.string().optional(),
        with: z.record(z.string(), z.string()).default({}),
        shell: z.literal('bash').optional(),
        'working-directory': z.string().default('.'),
        env: z.record(z.string(), z.string()).default({}),
        run: z.string().optional(),
      }),
    ),
  }),
});
export type Action = z.infer<typeof Action>;

export const readAction = (): Action => Action.parse(parse(readFileSync(join(PROJECT_ROOT, 'action.yml'), 'utf8')));

export interface Job {
  job: GithubJob;
  inputs: Record<string, string>;
  /** The checkout. */
  workspace: string;
  /** The runner's folder for this job alone. */
  temp: string;
  env?: Record<string, string>;
  /** Where the files of the action lie. */
  actionPath?: string;
  /** The person cancels the job once this resolves. */
  cancelled?: Promise<unknown>;
}

export interface JobEnded {
  outcome: 'success' | 'failure';
  exitCode: number;
  outputs: Record<string, string>;
  commands: GithubCommand[];
  log: string;
  summary: string;
  /** The actions of others that it used. */
  used: string[];
}

export async function runAction({ job, inputs, workspace, temp, ...options }: Job): Promise<JobEnded> {
  const action = readAction();
  for (const name of Object.keys(inputs)) if (!(name in action.inputs)) throw new Error(`There is no input ${name}`);
  const given = Object.fromEntries(
    Object.entries(action.inputs).map(([name, input]) => [name, inputs[name] ?? input.default]),
  );
  const { actionPath = PROJECT_ROOT, env = {}, cancelled } = options;
  const context: Context = { inputs: given, github: { action_path: actionPath }, runner: { temp }, steps: {} };
  const eventPath = join(temp, 'event.json');
  writeFileSync(eventPath, JSON.stringify(job.payload));
  const jobEnv: NodeJS.ProcessEnv = {
    ...{ ...cleanEnv(), RUNNER_TEMP: temp, GITHUB_ACTION_PATH: actionPath },
    ...{ GITHUB_WORKSPACE: workspace, GITHUB_EVENT_PATH: eventPath, ...githubEnv(job), ...env },
  };
  const ended: JobEnded = {
    ...{ outcome: 'success', exitCode: 0, outputs: {} },
    commands: [],
    log: '',
    summary: '',
    used: [],
  };
  for (const [index, step] of action.runs.steps.entries()) {
    if (step.if !== undefined && !isTrue(step.if, context)) continue;
    if (step.uses !== undefined) {
      ended.used.push(step.uses);
      jobEnv.PATH = `${dirname(process.execPath)}:${jobEnv.PATH}`; // what setup-node does
      continue;
    }
    const folder = join(temp, `step-${index}`);
    mkdirSync(folder);
    const stepEnv = Object.fromEntries(
      Object.entries(step.env).map(([name, value]) => [name, expanded(value, context)]),
    );
    const cwd = join(workspace, expanded(step['working-directory'], context));
    const ran = await runStep({ script: step.run!, cwd, folder, env: { ...jobEnv, ...stepEnv }, cancelled });
    ended.commands.push(...ran.commands);
    ended.log += ran.log;
    ended.summary += ran.summary;
    if (step.id !== undefined) context.steps[step.id] = { outputs: ran.outputs };
    if (ran.exitCode === 0) continue;
    Object.assign(ended, { outcome: 'failure', exitCode: ran.exitCode });
    break;
  }
  for (const [name, { value }] of Object.entries(action.outputs)) ended.outputs[name] = expanded(value, context);
  return ended;
}

interface Step {
  script: string;
  cwd: string;
  /** The folder for the files of this step. */
  folder: string;
  env: NodeJS.ProcessEnv;
  cancelled: Promise<unknown> | undefined;
}

async function runStep({ script, cwd, folder, env, cancelled }: Step) {
  const file = (name: string, content = '') => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const output = file('output');
  const summary = file('summary');
  const scriptPath = file('script.sh', script);
  const files = { GITHUB_OUTPUT: output, GITHUB_STEP_SUMMARY: summary };
  const others = { GITHUB_ENV: file('env'), GITHUB_PATH: file('path'), GITHUB_STATE: file('state') };
  const child = spawn('bash', ['--noprofile', '--norc', '-eo', 'pipefail', scriptPath], {
    cwd,
    env: { ...env, ...files, ...others },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // The runner signals the process that it has started, and no other.
  void cancelled?.then(() => child.kill('SIGINT'));
  const commands = new GithubCommands();
  const all = [child.stdout, child.stderr].map(async (stream) => {
    // Without the pass-through, the lines that came before the reader was there would be lost.
    for await (const line of createInterface({ input: stream.pipe(new PassThrough()) })) commands.line(line);
  });
  const exitCode = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  await Promise.all(all);
  for (const path of Object.values(others))
    if (readFileSync(path, 'utf8') !== '') throw new Error(`${path} was written`);
  return {
    exitCode,
    commands: commands.obeyed,
    log: commands.log.map((line) => `${line}\n`).join(''),
    summary: commands.masked(readFileSync(summary, 'utf8')),
    outputs: valuesIn(readFileSync(output, 'utf8')),
  };
}

interface Context {
  inputs: Record<string, string>;
  github: Record<string, string>;
  runner: Record<string, string>;
  steps: Record<string, { outputs: Record<string, string> }>;
}

const expanded = (text: string, context: Context): string =>
  text.replaceAll(/\$\{\{(.*?)\}\}/g, (_, expression: string) => resolved(expression, context));

/** A name that a context does not have is empty, as with GitHub. */
function resolved(expression: string, { inputs, github, runner, steps }: Context): string {
  const [, context, name, , output] =
    /^(inputs|github|runner|steps)\.([\w-]+)(\.outputs\.([\w-]+))?$/.exec(expression.trim()) ?? [];
  if (context === 'steps' && output !== undefined) return steps[name!]?.outputs[output] ?? '';
  if (context === undefined || context === 'steps' || output !== undefined)
    throw new Error(`The runner of the tests does not know the expression ${expression}`);
  const value = { inputs, github, runner }[context as 'inputs' | 'github' | 'runner'][name!];
  if (value === undefined) throw new Error(`There is no ${expression.trim()}`);
  return value;
}

function isTrue(condition: string, context: Context): boolean {
  const [, expression, operator, literal] = /^(\S+) (==|!=) '([^']*)'$/.exec(condition) ?? [];
  if (expression === undefined) throw new Error(`The runner of the tests does not know the condition ${condition}`);
  return (resolved(expression, context) === literal) === (operator === '==');
}
