/** Says what a person should know of a source before it is sent. Pure. */
import { largestFolders, type SizedFolder } from './largest-folders.ts';
import type { Source, SourceFile } from './list-source.ts';
import { looksLikeSigning, looksSecret } from './secret-looking.ts';

export interface Warning {
  code:
    | 'signing_file_tracked'
    | 'secret_in_archive'
    | 'secret_file_over_another'
    | 'names_differ_in_case'
    | 'submodule_not_checked_out';
  path: string;
  /** A whole sentence. */
  message: string;
}

/** From this size on, the largest folders are shown. */
const LARGE_BYTES = 100 * 1000 * 1000;
const FOLDERS_SHOWN = 5;

export function warningsOf(source: Source): Warning[] {
  const { files, leftOut } = source;
  const warnings: Warning[] = [];
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

/** Why a file goes along that git does not track, and what to do so that it does not. */
function whyInArchive({ difference }: SourceFile, { decidedBy }: Source): string {
  if (difference === 'brought_by_include') return '`--include` brings it. Take it out of there';
  if (difference === 'brought_by_easignore')
    return '.easignore replaces the rules of git, which ignore it. Name it in .easignore, or give `--easignore-adds`';
  return `no rule ignores it. Name it in ${decidedBy === 'easignore' ? '.easignore' : '.gitignore'}`;
}

/** Empty if the source is small. */
export const largeFoldersOf = ({ files }: Source): SizedFolder[] =>
  files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) < LARGE_BYTES ? [] : largestFolders(files, FOLDERS_SHOWN);
