/**
 * `expo-build init`: finds a project, and says what its first build needs.
 *
 * Invariant: it writes a file only if none is there, and only if the person agrees.
 */
import { open } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Command } from 'commander';
import { PLATFORMS } from '#contract';
import { fileBeside } from '../../../client/packing/files-of-source.ts';
import { explainBuild } from '../../../client/plan/explain-build.ts';
import { printable } from '../../../client/printable.ts';
import { commandBuildOf, EXPO_BUILD_JSON } from '../../../client/project/expo-build-json.ts';
import { appFoldersIn } from '../../../client/project/first-build/app-folders.ts';
import { gitCallsIn } from '../../../client/project/first-build/git-calls.ts';
import { MINIMAL_EAS_JSON, proposedExpoBuildJson } from '../../../client/project/first-build/proposed-files.ts';
import { type NativeFolder, type Survey, surveyProject } from '../../../client/project/first-build/survey-project.ts';
import { pathIn } from '../../../client/project/project-files.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { CommandError } from '../../command-error.ts';
import { askYes } from '../../input.ts';
import type { Interrupts } from '../../interrupts.ts';
import { type JsonLine, printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { secretFilesOf } from '../../submit/build-request.ts';
import { onlyProjectOf } from '../../submit/only-project.ts';
import { flagFor, type Project, readProject } from '../../submit/read-project.ts';
import { PLATFORM_NAMES } from '../../words.ts';

interface InitFlags {
  easJson: boolean;
  yes: boolean;
  offline: boolean;
  json: boolean;
}

type Platform = (typeof PLATFORMS)[number];
/** The most profiles that are checked. */
const PROFILES_MAX = 10;

export function initCommand(interrupts: Interrupts): Command {
  return new Command('init')
    .description('find the project, and say what its first build needs')
    .argument('[folder]', 'the folder of the app, or of the repository that it is in', '.')
    .option('--eas-json', 'propose an eas.json with two profiles, instead of an expo-build.json', false)
    .option('--yes', 'write what is proposed without a question', false)
    .option('--offline', 'do not ask the controller', false)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, flags: InitFlags) => {
      const project = await findProject(folder, interrupts.signal);
      const found = await lookAt(project, flags, interrupts.signal);
      if (flags.json) for (const line of linesOf(found)) printJson(line);
      else process.stdout.write(textOf(found));
      for (const file of found.proposed) await offer(file, flags, interrupts.signal);
    });
}

const HELP = `
Examples:
  expo-build init                  in the folder of the app
  expo-build init apps/mobile --yes

An expo-build.json is proposed for a project with native folders and without eas.json. No file is overwritten.`;

/** The folder itself if it has an app, else the only app in it. */
async function findProject(folder: string, signal: AbortSignal): Promise<Project> {
  const flags = { include: [], secretFile: [], easignoreAdds: false };
  const project = await readProject(folder, flags, { explain: false, signal });
  const { files, source } = project;
  const { folders, easJson } = await surveyProject(files, source.appRoot);
  const isApp = easJson !== null || PLATFORMS.some((platform) => folders[platform] !== 'none');
  if (isApp || PLATFORMS.some((platform) => commandIn(project, platform))) return project;
  const apps = appFoldersIn(files, source.appRoot);
  if (apps.length === 1 && apps[0] !== source.appRoot)
    return await readProject(join(source.root, apps[0]!), { ...flags, root: source.root }, { explain: false, signal });
  if (apps.length > 1)
    throw new CommandError(
      `There are several apps in ${folder === '.' ? 'this folder' : folder}. Name one:\n${apps.map((path) => `  expo-build init ${pathFromHere(source.root, path)}`).join('\n')}`,
    );
  throw new CommandError(
    `There is no app in ${folder === '.' ? 'this folder' : folder}: no eas.json, no package.json with \`expo\`, no Xcode or Gradle project. Name the folder of the app.`,
  );
}

const pathFromHere = (root: string, path: string): string => relative(process.cwd(), join(root, path)) || '.';

interface ProposedFile {
  /** On this disk. */
  path: string;
  name: string;
  content: string;
}

interface Found {
  project: Project;
  survey: Survey;
  checked: { profile: string; platform: Platform; refusal: string | null }[];
  needed: string[];
  proposed: ProposedFile[];
}

async function lookAt(project: Project, { easJson, offline }: InitFlags, signal: AbortSignal): Promise<Found> {
  const { files, source, json, secrets } = project;
  const { root, appRoot } = source;
  const survey = await surveyProject(files, appRoot);
  const checked = await checkProfiles(project, survey.easJson?.profiles ?? []);
  const needed: string[] = [];
  const proposed: ProposedFile[] = [];
  const propose = (name: string, content: string) =>
    proposed.push({ path: join(root, pathIn(appRoot, name)!), name, content });

  if (survey.easJson?.problem) needed.push(survey.easJson.problem);
  if (survey.easJson === null && easJson) {
    if (survey.name === null && !survey.isExpo)
      throw new CommandError(
        'Profiles of eas.json need a project with a package.json, and there is none. Name the folder that has it, or leave --eas-json out.',
      );
    propose('eas.json', MINIMAL_EAS_JSON);
  }
  const hasCommand = PLATFORMS.some((platform) => commandIn(project, platform));
  for (const platform of PLATFORMS) {
    const command = commandBuildOf(json, appRoot, platform);
    if (!command.ok && !needed.includes(command.problem)) needed.push(command.problem);
  }
  if (survey.easJson === null && !easJson && !hasCommand) {
    const native = proposedExpoBuildJson(survey.builds);
    const isThere = fileBeside(source, EXPO_BUILD_JSON).paths.size > 0;
    if (native !== null && !isThere) propose(EXPO_BUILD_JSON, native);
    else if (native !== null)
      needed.push(
        `${EXPO_BUILD_JSON} has no \`command\`, and there is no eas.json. It could have:\n${native.trimEnd()}`,
      );
    else
      needed.push(
        'There is no eas.json, so there is no profile to build. Make one with `expo-build init --eas-json`, or with `eas build:configure`.',
      );
  }
  if (checked.length > 0 && checked.every(({ refusal }) => refusal !== null))
    needed.push('No profile would be built as it is. Below stands what each one lacks.');
  if (secrets.notSent.length > 0)
    needed.push(
      `Git ignores files that the build may need: ${secrets.notSent
        .slice(0, 5)
        .map((path) => `\`${flagFor(source, path)}\``)
        .join(', ')} sends them.`,
    );
  for (const { path, namedBy } of secrets.missing) needed.push(`${namedBy} names ${path}, which is not on this disk.`);
  for (const { file, call } of await gitCallsIn(files, appRoot))
    needed.push(
      `${file} calls \`${call}\`, and no .git goes to a build by itself. If the build needs it: \`expo-build submit --with-git\`, which brings the last commit, or \`--with-git=50\`.`,
    );
  needed.push(...(await atController(project, offline, signal)));
  return { project, survey, checked, needed, proposed };
}

async function checkProfiles(project: Project, profiles: readonly string[]): Promise<Found['checked']> {
  const { files, source } = project;
  const inputs = { env: {}, secretNames: [], secretFiles: secretFilesOf(project) };
  const checked: Found['checked'] = [];
  for (const profile of profiles.slice(0, PROFILES_MAX))
    for (const platform of PLATFORMS) {
      const request = { platform, profile, appRoot: source.appRoot, files, imageNames: null, originVariables: {} };
      const { refusal } = await explainBuild({ ...request, inputs, now: new Date() });
      checked.push({ profile, platform, refusal });
    }
  return checked;
}

const commandIn = ({ json }: Project, platform: Platform): boolean =>
  (json[platform]?.command ?? json.command) !== undefined;

/** Says what is missing at the controller. Without a login, the sentence names the command to log in. */
async function atController({ json }: Project, offline: boolean, signal: AbortSignal): Promise<string[]> {
  if (offline) return [];
  try {
    const client = new ProjectClient(await connect(signal));
    const projects = (await client.projects()).map(({ name }) => name);
    const { project } = json;
    if (project !== undefined && !projects.includes(project))
      return [`expo-build.json names the project ${project}, which the key does not reach.`];
    if (projects.length === 0) return ['The key reaches no project. An admin makes one, and a key for it.'];
    if (project === undefined) onlyProjectOf(await client.me());
    return [];
  } catch (error) {
    if (!(error instanceof CommandError)) return [`The controller does not answer: ${(error as Error).message}`];
    return [error.message];
  }
}

async function offer({ path, name, content }: ProposedFile, flags: InitFlags, signal: AbortSignal): Promise<void> {
  const canAsk = process.stdin.isTTY && !flags.json;
  if (!flags.yes && !canAsk) {
    if (!flags.json) process.stdout.write(`\nNothing was written. \`--yes\` writes ${name}.\n`);
    return;
  }
  const otherwise = `\`--yes\` writes ${name}.`;
  if (!flags.yes && !(await askYes({ message: `Write ${path}?`, otherwise, signal }))) return;
  await writeNew(path, name, content);
  if (flags.json) printJson({ type: 'proposed_file', path, content, written: true });
  else process.stdout.write(`\n${printable(path)} was written. Commit it.\n`);
}

async function writeNew(path: string, name: string, content: string): Promise<void> {
  try {
    await using file = await open(path, 'wx');
    await file.writeFile(content);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new CommandError(
        `${name} is there, but it does not go to a build: git ignores it, or it is a link. Nothing was written. Take it out of .gitignore, or put a file in place of the link.`,
      );
    throw new CommandError(`${path} cannot be written: ${(error as Error).message}`);
  }
}

function linesOf({ project, survey, checked, needed, proposed }: Found): JsonLine[] {
  const { root, appRoot } = project.source;
  const { name, isExpo, manager, easJson, folders } = survey;
  return [
    {
      type: 'found_project',
      ...{ root, appRoot, name, isExpo, ...folders },
      manager: manager?.manager ?? null,
      lockFile: manager?.lockFile ?? null,
      workspaceRoot: manager?.workspaceRoot ?? null,
      profiles: easJson?.profiles ?? null,
    },
    ...needed.map((message): JsonLine => ({ type: 'needed', message })),
    ...checked.map((one): JsonLine => ({ type: 'profile_checked', ...one })),
    ...proposed.map(({ path, content }): JsonLine => ({ type: 'proposed_file', path, content, written: false })),
  ];
}

const FOLDER_WORDS: Record<NativeFolder, string> = {
  own: 'a native project in the source',
  made_by_prebuild: 'no native project in the source; `expo prebuild` makes it in the VM',
  none: 'no native project',
};

function textOf({ project, survey, checked, needed, proposed }: Found): string {
  const { root, appRoot } = project.source;
  const { name, isExpo, manager, easJson, folders, notes } = survey;
  const place = join(root, appRoot);
  const here = pathFromHere(root, appRoot);
  const submit = `expo-build submit${here === '.' ? '' : ` ${here}`}`;
  const commands = PLATFORMS.filter((platform) => commandIn(project, platform));
  const good = checked.filter(({ refusal }) => refusal === null);
  const bad = checked.filter(({ refusal }) => refusal !== null);
  const lines = [
    `${isExpo ? 'An Expo app' : 'A project'}${name === null ? '' : `, ${name},`} in ${place}`,
    ...(appRoot === '.' ? [] : [`  it goes to a build with all of ${root}`]),
    ...(manager === null
      ? []
      : [`  ${manager.manager}, ${manager.lockFile === null ? 'without a lock file' : `by ${manager.lockFile}`}`]),
    `  ${easJson === null ? 'no eas.json' : easJson.profiles === null ? 'an eas.json that cannot be read' : `eas.json with ${easJson.profiles.length === 0 ? 'no profile' : easJson.profiles.join(', ')}`}`,
    ...PLATFORMS.map((platform) => `  ${PLATFORM_NAMES[platform]}: ${FOLDER_WORDS[folders[platform]]}`),
    ...(commands.length === 0
      ? []
      : [`  expo-build.json with a command for ${commands.map((one) => PLATFORM_NAMES[one]).join(' and ')}`]),
    ...section('Look at these', notes),
    ...section('A first build needs', needed),
    ...section('Would be built', [
      ...good.map(({ profile, platform }) => `${submit} --platform ${platform} --profile ${profile}`),
      ...commands.map((platform) => `${submit} --platform ${platform}`),
    ]),
    ...section(
      'Would be refused',
      bad.map(({ profile, platform, refusal }) => `${profile} for ${PLATFORM_NAMES[platform]}: ${refusal}`),
    ),
    ...proposed.flatMap(({ name, content }) => [
      '',
      `Proposed ${name}:`,
      ...content
        .trimEnd()
        .split('\n')
        .map((line) => `  ${line}`),
    ]),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

const section = (title: string, entries: readonly string[]): string[] =>
  entries.length === 0
    ? []
    : ['', `${title}:`, ...entries.flatMap((entry) => entry.split('\n').map((line) => `  ${line}`))];
