/** Decides whether a build gets its number from Tartbeat's counter, and whether the counter moves. */
import type { BuildProfile } from './build-profile.ts';
import type { EasJson } from './eas-json.ts';
import { named } from './formats/text.ts';

interface NumberPolicy {
  /** none: the project's own number stays. read: the value of the counter. increment: one more than that. */
  policy: 'none' | 'read' | 'increment';
  notes: string[];
}

export function numberPolicy({ cli, file }: EasJson, profile: BuildProfile): NumberPolicy {
  const { autoIncrement, name } = profile;
  const isRemote = cli.appVersionSource === 'remote';
  const counts = autoIncrement === true || autoIncrement === 'buildNumber' || autoIncrement === 'versionCode';
  if (isRemote && counts) return { policy: 'increment', notes: [] };
  const notes: string[] = [];
  if (autoIncrement === 'version')
    notes.push(
      `\`autoIncrement: "version"\` of profile ${named(name)} in ${file} is ignored. Tartbeat counts build numbers, and does not change the version of an app.`,
    );
  else if (counts)
    notes.push(
      `\`autoIncrement\` of profile ${named(name)} in ${file} is ignored, because \`cli.appVersionSource\` is not "remote". Tartbeat does not change files of the project.`,
    );
  return { policy: isRemote ? 'read' : 'none', notes };
}
