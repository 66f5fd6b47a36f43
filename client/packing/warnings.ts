/** Warns a person about problems of a source before it is sent. Pure. */
import { LEFT_OUT, pathIn } from '../project/project-files.ts';
import { largestFolders, type SizedFolder } from './largest-folders.ts';
import { endOfLink } from './link-escapes.ts';
import type { Source, SourceFile } from './list-source.ts';
import { looksLikeSigning, looksSecret } from './secret-looking.ts';

export interface Warning {
  code:
    | 'signing_file_tracked'
    | 'secret_in_archive'
    | 'secret_file_over_another'
    | 'secret_file_missing'
    | 'no_app'
    | 'git_not_found'
    | 'link_to_nothing'
    | 'names_differ_in_case'
    | 'submodule_not_checked_out'
    | 'unknown_field';
  path: string;
  /** A whole sentence. */
  message: string;
}

/** From this size on, the largest folders are shown. */
const LARGE_BYTES = 100 * 1000 * 1000;
const FOLDERS_SHOWN = 5;

/** `sealed` are the paths of secret files, which are in the VM too. */
export function warningsOf(source: Source, sealed: Iterable<string> = []): Warning[] {
  const { files, leftOut } = source;
  const warnings: Warning[] = [...warningsOfFolder(source), ...deadLinks(files, sealed)];
  const names = new Map<string, string>();
  for (const file of files) {
    const { path, isTracked } = file;
    if (isTracked && looksLikeSigning(path))
      warnings.push({
        code: 'signing_file_tracked',
        path,
        message:
          'Git tracks this file, so everybody who can read the repository has it. Remove it with `git rm --cached`, ignore it, and send it with `--secret-file`.',
      });
    if (!isTracked && looksSecret(path))
      warnings.push({
        code: 'secret_in_archive',
        path,
        message: `This looks like a secret, and goes in the archive as it is: ${whyInArchive(file, source)}, and send it with \`--secret-file\`.`,
      });
    const name = path.normalize('NFC').toLowerCase();
    const other = names.get(name);
    names.set(name, path);
    if (other !== undefined)
      warnings.push({
        code: 'names_differ_in_case',
        path,
        message: `On a Mac this is the same file as ${JSON.stringify(other)}, so one of the two is lost. Rename one.`,
      });
  }
  for (const { path, why } of leftOut)
    if (why === 'not_checked_out')
      warnings.push({
        code: 'submodule_not_checked_out',
        path,
        message: 'This submodule is not checked out. Fetch it: `git submodule update --init --recursive`.',
      });
  return warnings;
}

const OF_AN_APP = ['eas.json', 'package.json', 'app.json', 'app.config.js', 'app.config.ts'];

function warningsOfFolder({ appRoot, files, gitIsMissing }: Source): Warning[] {
  const warnings: Warning[] = [];
  const ofAnApp = new Set(OF_AN_APP.map((name) => pathIn(appRoot, name)));
  if (!files.some(({ path }) => ofAnApp.has(path)))
    warnings.push({
      code: 'no_app',
      path: appRoot,
      message:
        'No package.json, app.json or eas.json of this folder goes along, so it is hardly the folder of an app. Name the one in which eas.json lies: `expo-build pack --list FOLDER`.',
    });
  if (gitIsMissing)
    warnings.push({
      code: 'git_not_found',
      path: '.git',
      message:
        'Here is a repository, but the program `git` was not found, so git was not asked. Install git, or put its folder into PATH.',
    });
  return warnings;
}

/** A link into node_modules is not dead, because its target exists once the packages are installed. */
function deadLinks(files: readonly SourceFile[], sealed: Iterable<string>): Warning[] {
  const links = new Map(files.flatMap(({ path, kind, target }) => (kind === 'link' ? [[path, target]] : [])));
  if (links.size === 0) return [];
  const there = new Set(['']);
  for (const path of [...files.map(({ path }) => path), ...sealed])
    for (let at = path; at !== '' && !there.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) there.add(at);
  return [...links].flatMap(([path, target]): Warning[] => {
    const end = endOfLink(path, target, links);
    if (end === 'outside' || (end !== 'circle' && there.has(end.join('/')))) return [];
    if (end !== 'circle' && end.some((part) => (LEFT_OUT as readonly string[]).includes(part))) return [];
    const message = `This link leads to ${JSON.stringify(target)}, which does not go along, so it leads nowhere in the VM. Bring what is there with \`--include\`, or delete the link.`;
    return [{ code: 'link_to_nothing', path, message }];
  });
}

/** Why a file that git does not track goes along, and how to leave it out. */
function whyInArchive({ difference }: SourceFile, { decidedBy }: Source): string {
  if (difference === 'brought_by_include') return '`--include` brings it. Take it out of there';
  return `no rule ignores it. Name it in ${decidedBy === 'easignore' ? '.easignore' : '.gitignore'}`;
}

/** Empty if the source is small. */
export const largeFoldersOf = ({ files }: Source): SizedFolder[] =>
  files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) < LARGE_BYTES ? [] : largestFolders(files, FOLDERS_SHOWN);
