/** Decides what is built for a platform: a profile of eas.json, or a command. */
import { join, relative } from 'node:path';
import { type App, ArtifactGlob } from '#contract';
import type { Warning } from '../../client/packing/warnings.ts';
import { appOf } from '../../client/plan/plan.ts';
import { readAppConfig } from '../../client/project/app-config.ts';
import { checkCustomBuild, resolveProfile } from '../../client/project/build-profile.ts';
import { onUnknownFields, readEasJson } from '../../client/project/eas-json.ts';
import { type CommandBuild, commandBuildOf } from '../../client/project/expo-build-json.ts';
import { appFoldersIn } from '../../client/project/first-build/app-folders.ts';
import type { Found } from '../../client/project/found.ts';
import { pathIn } from '../../client/project/project-files.ts';
import { workflowOf } from '../../client/project/workflow.ts';
import { CommandError } from '../command-error.ts';
import type { Project } from './read-project.ts';

export type Platform = 'ios' | 'android';

/** The default of EAS. */
export const USUAL_PROFILE = 'production';

export interface BuildFlags {
  profile?: string;
  command?: string;
  artifact: string[];
}

export interface BuildChoice {
  platform: Platform;
  /** Exactly one of both. */
  profile: string | null;
  command: string | null;
  artifacts: ArtifactGlob[];
  warnings: Warning[];
  /** Says what is built, and why. */
  words: string;
}

/** Throws CommandError with what to correct in eas.json, in expo-build.json or in the flags. */
export async function chooseBuild(project: Project, platform: Platform, flags: BuildFlags): Promise<BuildChoice> {
  if (flags.profile !== undefined && flags.command !== undefined)
    throw new CommandError('--profile and --command are two ways to say what is built. Give one of them.');
  const { json, source, files } = project;
  const byCommand = flags.profile === undefined ? value(commandOf(project, platform, flags)) : null;
  if (byCommand !== null)
    return {
      ...{ platform, profile: null, ...byCommand, warnings: [] },
      words: `the command ${flags.command === undefined ? 'of expo-build.json' : 'that you gave'}`,
    };
  const { appRoot } = source;
  const easJsonPath = pathIn(appRoot, 'eas.json')!;
  if (!files.paths.has(easJsonPath)) {
    const apps = appFoldersIn(files, appRoot);
    if (apps.length > 0 && !apps.includes(appRoot))
      throw new CommandError(
        `There is no ${easJsonPath}. Name the folder of an app:\n${apps.map((path) => `  expo-build submit ${relative('.', join(source.root, path))}`).join('\n')}`,
      );
  }
  if (!files.paths.has(easJsonPath) && flags.profile === undefined)
    throw new CommandError(
      `Nothing says what to build: there is no ${easJsonPath}${json.ios || json.android ? `, and expo-build.json has no command for ${platform}` : ''}. Make profiles with \`expo-build init --eas-json\` or \`eas build:configure\`, or give \`--command COMMAND --artifact GLOB\` (or both as \`command\` and \`artifacts\` in expo-build.json).`,
    );
  const name = flags.profile ?? USUAL_PROFILE;
  const read = await readEasJson(files, appRoot);
  const easJson = value(read);
  const unknownFields = read.ok ? onUnknownFields(easJson, read.notes) : null;
  const profile = value(resolveProfile(easJson, platform, name, { imageNames: null }));
  value(checkCustomBuild(files, appRoot, profile));
  const which = flags.profile === undefined ? ' (no --profile was given)' : '';
  return {
    ...{ platform, profile: name, command: null, artifacts: globsOf(flags.artifact, appRoot) },
    warnings: unknownFields === null ? [] : [{ code: 'unknown_field', path: easJsonPath, message: unknownFields }],
    words: `profile ${name} of ${easJsonPath}${which}`,
  };
}

/** Null: neither the flags nor expo-build.json have a command. */
function commandOf(
  { json, source }: Project,
  platform: Platform,
  { command, artifact }: BuildFlags,
): Found<CommandBuild | null> {
  globsOf(artifact, source.appRoot); // a mistake in a flag is reported for the flag
  const given = artifact.length > 0 ? { artifacts: artifact.map((glob) => ArtifactGlob.parse({ glob })) } : {};
  const own = json[platform];
  const merged = { ...json, ...own, ...given, ...(command !== undefined && { command }) };
  return commandBuildOf({ ...merged, ios: undefined, android: undefined }, source.appRoot, platform);
}

/** Globs count from the folder of the app, as in expo-build.json. */
const globsOf = (globs: readonly string[], appRoot: string): ArtifactGlob[] =>
  globs.map((one) => {
    const glob = pathIn(appRoot, one);
    if (glob === null || glob === '.')
      throw new CommandError(
        `--artifact ${one} leads out of the source, or is the whole of it. Name files in the folder of the app.`,
      );
    return ArtifactGlob.parse({ glob });
  });

/**
 * The app as its project describes it, for the questions to a store before the build. Undefined: not known.
 */
export async function appForStore(
  { files, source }: Project,
  { platform, profile }: BuildChoice,
): Promise<App | undefined> {
  if (profile === null) return undefined;
  const easJson = value(await readEasJson(files, source.appRoot));
  const resolved = value(resolveProfile(easJson, platform, profile, { imageNames: null }));
  const workflow = await workflowOf(files, source.appRoot, platform);
  const { appId, version, buildNumber } = value(
    await readAppConfig(files, source.appRoot, platform, workflow, resolved),
  );
  return appId === null ? undefined : appOf(appId, { version, buildNumber });
}

/** Drops the notes, because the agent writes them into the log of the build. */
function value<T>(found: Found<T>): T {
  if (!found.ok) throw new CommandError(found.problem);
  return found.value;
}
