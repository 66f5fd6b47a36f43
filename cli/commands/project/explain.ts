/** `expo-build explain`: says how each field of a profile is used, before anything is sent. */
import { Command, Option } from 'commander';
import { type BuildNumberRequest, type CounterView, USUAL_POOL, USUAL_PROJECT } from '#contract';
import { reasonOf } from '../../../client/answer.ts';
import { explainBuild } from '../../../client/plan/explain-build.ts';
import { explainSubmit } from '../../../client/plan/explain-submit.ts';
import type { UnseenSecrets } from '../../../client/plan/plan.ts';
import { type CommandBuild, commandBuildOf } from '../../../client/project/expo-build-json.ts';
import { pathIn } from '../../../client/project/project-files.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { CommandError, endWith } from '../../command-error.ts';
import { EXIT } from '../../exit-codes.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { secretFilesOf } from '../../submit/build-request.ts';
import { USUAL_PROFILE } from '../../submit/choose-build.ts';
import { pairs, secretVariables, several } from '../../submit/flag-values.ts';
import { onlyProjectOf } from '../../submit/only-project.ts';
import { type Project, type ProjectFlags, readProject } from '../../submit/read-project.ts';
import { NO_SECRETS, storedSecrets } from '../../submit/stored-secrets.ts';
import { type Explained, linesOf, textOf } from './explained.ts';

export interface ExplainFlags extends ProjectFlags {
  platform: 'ios' | 'android';
  profile?: string;
  submit?: string | true;
  env: string[];
  secretEnv: string[];
  image?: string;
  project?: string;
  pool: string;
  offline: boolean;
}

export function explainCommand(interrupts: Interrupts): Command {
  return new Command('explain')
    .description('say what becomes of each field of a profile, and whether it would be built; nothing is sent')
    .argument('[folder]', 'the folder of the app, in which eas.json lies', '.')
    .addOption(new Option('--platform <platform>', 'what is built').choices(['ios', 'android']).default('ios'))
    .option('--profile <name>', `a profile of eas.json; else \`${USUAL_PROFILE}\``)
    .option('--submit [name]', 'also a submit profile of eas.json; else `production`')
    .option('--json', 'print one JSON object on each line', false)
    .optionsGroup('What the build gets, as for `submit`:')
    .option('--env <name=value>', 'a variable; may be given again', several, [])
    .option('--secret-env <name>', 'a secret variable, whose value is taken from here; may be given again', several, [])
    .option('--secret-file <path>', 'a file that goes to the build sealed; may be given again', several, [])
    .option('--image <name>', 'the image of the VM')
    .option('--project <name>', 'the project at the controller, whose stored secrets count too')
    .option('--pool <name>', 'the pool of Macs', USUAL_POOL)
    .option('--offline', 'do not ask the controller which secrets are stored', false)
    .optionsGroup('What goes along (`expo-build pack --list` shows it):')
    .option('--root <folder>', 'what goes along as a whole; else the git repository that the app is in')
    .option('--include <glob>', 'ignored files that the build needs; may be given again', several, [])
    .option('--easignore-adds', '.easignore takes more away from what git sees, and does not replace it', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, { json, ...flags }: ExplainFlags & { json: boolean }) => {
      const explained = await explain(folder, flags, interrupts.signal);
      if (json) for (const line of linesOf(explained)) printJson(line);
      else process.stdout.write(textOf(explained));
      const isRefused = explained.build?.refusal || explained.submission?.refusal;
      endWith(isRefused ? EXIT.usage : EXIT.ok);
    });
}

const HELP = `
Examples:
  expo-build explain --platform ios --profile production
  expo-build explain apps/mobile --platform android --submit

Exit code 0: it would be built. 2: it would be refused, with the sentence that the build would end with.`;

/** Throws CommandError or SourceError if nothing could be submitted from this folder. */
export async function explain(folder: string, flags: ExplainFlags, signal: AbortSignal): Promise<Explained> {
  const project = await readProject(folder, flags, { explain: false, signal });
  const { source, files } = project;
  const { platform, profile: profileName, image } = flags;
  const { root, appRoot } = source;
  const place = { platform, root, appRoot };
  const command = profileName === undefined ? commandOf(project, platform) : null;

  const { submit } = flags;
  const submitProfile = submit === true ? undefined : submit;
  const submitted =
    submit === undefined || (command !== null && !files.paths.has(pathIn(appRoot, 'eas.json')!))
      ? null
      : await explainSubmit(files, appRoot, platform, submitProfile, process.env);
  const submission = submitted && { ...submitted, profile: submitProfile ?? USUAL_PROFILE };
  if (command !== null) return { ...place, command, profile: null, build: null, submission, notes: [] };

  const { unseen, counters, notes } = await atController(project, flags, signal);
  const profile = profileName ?? USUAL_PROFILE;
  const secretEnv = secretVariables(flags.secretEnv, process.env);
  const build = await explainBuild({
    ...{ platform, profile, appRoot, files, unseen, now: new Date(), originVariables: {} },
    imageNames: image === undefined ? null : [image],
    inputs: {
      env: { ...pairs(flags.env, '--env'), ...secretEnv },
      secretNames: Object.keys(secretEnv),
      secretFiles: secretFilesOf(project),
    },
  });
  const number = build.plan?.number;
  if (counters !== null && number?.asked === 'before the boot')
    notes.push(counterWords(counters, platform, number.request));
  return { ...place, profile, command: null, build, submission, notes };
}

/** Says which number the counter would give a build now. Another build may get that number first. */
function counterWords(
  counters: readonly CounterView[],
  platform: 'ios' | 'android',
  { app: { id, buildNumber: own = 0 }, increment }: BuildNumberRequest,
): string {
  const counter = counters.find((one) => one.platform === platform && one.appId === id);
  if (!counter) return `There is no counter of ${id} yet.`;
  const next = Math.max(counter.value + (increment ? 1 : 0), own);
  return `The counter of ${id} has ${counter.value}. A build that begins now gets ${next}.`;
}

function commandOf({ json, source }: Project, platform: 'ios' | 'android'): CommandBuild | null {
  const command = commandBuildOf(json, source.appRoot, platform);
  if (!command.ok) throw new CommandError(command.problem);
  return command.value;
}

interface AtController {
  unseen: UnseenSecrets;
  /** Null: the controller was not asked, or did not answer. */
  counters: CounterView[] | null;
  /** Sentences that say which facts are not known, and why. */
  notes: string[];
}

/** Asks the controller for the names of the project's secrets and for its counters. */
async function atController(
  { json }: Project,
  { offline, project, pool }: ExplainFlags,
  signal: AbortSignal,
): Promise<AtController> {
  let counters: CounterView[] | null = null;
  const notAsked = (why: string) => ({
    unseen: NO_SECRETS,
    counters,
    notes: [`Stored secrets are not looked at: ${why}`],
  });
  if (offline) return notAsked('--offline is given.');
  try {
    const client = new ProjectClient(await connect(signal));
    const me = await client.me();
    const name = project ?? json.project ?? onlyProjectOf(me) ?? USUAL_PROJECT;
    counters = await client.counters(name);
    const unseen = await storedSecrets(client, me, name, pool);
    if (unseen !== null) return { unseen, counters, notes: [] };
    return notAsked(
      `builds of this key get none. An admin makes a key of the project ${name} with the right \`secrets.use\`.`,
    );
  } catch (error) {
    return notAsked(`${reasonOf(error as Error)}.`);
  }
}
