/** Makes the options of a submission: a submit profile of eas.json, and the flags, which win. */
import { STORE_OF_PLATFORM, SubmitOptions, wordsOf } from '#contract';
import type { ProjectFiles } from '../../client/project/project-files.ts';
import { pathIn } from '../../client/project/project-files.ts';
import { readSubmitOptions } from '../../client/project/submit/read-submit-profile.ts';
import { CommandError } from '../command-error.ts';
import type { Platform } from './choose-build.ts';

export interface StoreFlags {
  submitProfile?: string;
  artifact?: string;
  storeKey?: string;
  ascAppId?: string;
  groups?: string[];
  whatToTest?: string;
  locale?: string;
  track?: string;
  releaseStatus?: string;
  rollout?: string;
  changesNotSentForReview?: true;
}

interface StoreProject {
  files: ProjectFiles;
  appRoot: string;
}

/**
 * Without a project, or without its eas.json, the flags alone count. Each note is a whole line on an ignored
 * field of the profile.
 */
export async function storeOptions(
  project: StoreProject | null,
  platform: Platform,
  { submitProfile, groups, rollout, ...flags }: StoreFlags,
): Promise<{ options: SubmitOptions; notes: string[] }> {
  const given = {
    ...Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)),
    ...(groups && groups.length > 0 && { groups }),
    ...(rollout !== undefined && { rollout: Number(rollout) }),
  };
  const profile = await profileOf(project, platform, submitProfile);
  const merged = SubmitOptions.safeParse({ store: STORE_OF_PLATFORM[platform], ...profile?.options, ...given });
  if (merged.success) return { options: merged.data, notes: profile?.notes ?? [] };
  const issue = merged.error.issues[0]!;
  const field = issue.path[0] ?? ('keys' in issue ? issue.keys[0] : undefined);
  throw new CommandError(`--${dashed(String(field))} ${wordsOf(issue)}.`);
}

async function profileOf(project: StoreProject | null, platform: Platform, name: string | undefined) {
  const path = project && pathIn(project.appRoot, 'eas.json')!;
  if (project === null || path === null || !project.files.paths.has(path)) {
    if (name === undefined) return null;
    throw new CommandError(`--submit-profile ${name}: here is no eas.json. Name the folder of the app.`);
  }
  const read = await readSubmitOptions(project.files, project.appRoot, platform, name, process.env);
  if (!read.ok) throw new CommandError(read.problem);
  return { options: read.value, notes: read.notes };
}

const dashed = (field: string) => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
