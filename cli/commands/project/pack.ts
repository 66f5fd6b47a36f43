/** `expo-build pack --list`: shows which files of a project would go to a build. */
import { Command } from 'commander';
import type { Difference, Source } from '../../../client/packing/list-source.ts';
import type { SecretFile } from '../../../client/packing/secret-files.ts';
import { largeFoldersOf } from '../../../client/packing/warnings.ts';
import { escaped, printable } from '../../../client/printable.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { several } from '../../submit/flag-values.ts';
import { flagFor, type Project, type ProjectFlags, readProject } from '../../submit/read-project.ts';
import { size } from '../../words.ts';

interface PackOptions extends ProjectFlags {
  list?: true;
  json: boolean;
}

export function packCommand(interrupts: Interrupts): Command {
  return new Command('pack')
    .description('show which files of a project would go to a build, the largest first')
    .argument('[folder]', 'the folder of the app, in which eas.json lies', '.')
    .option('--list', 'print the list; nothing is sent')
    .option('--json', 'print one JSON object on each line', false)
    .option('--root <folder>', 'what goes along as a whole; else the git repository that the app is in')
    .option('--include <glob>', 'ignored files that the build needs; may be given again', several, [])
    .option('--secret-file <path>', 'a file that goes to the build sealed; may be given again', several, [])
    .option('--easignore-adds', '.easignore takes more away from what git sees, and does not replace it', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, options: PackOptions, command: Command) => {
      if (!options.list) command.error('error: give --list: `pack` sends nothing, and shows what `submit` would send');
      const shown = await readProject(folder, options, { explain: true, signal: interrupts.signal });
      if (options.json) printLines(shown);
      else process.stdout.write(textOf(shown));
    });
}

const HELP = `
Examples:
  expo-build pack --list
  expo-build pack --list apps/mobile --include 'ios/Frameworks/**'

Git decides: tracked files, and new ones that no ignore rule names. An .easignore at the root or beside
eas.json replaces the rules of git. Marks: + git would not bring it, ~ git brings it against its own rule.`;

const bySize = (a: { path: string; sizeBytes: number }, b: { path: string; sizeBytes: number }) =>
  b.sizeBytes - a.sizeBytes || (a.path < b.path ? -1 : 1);

const totalOf = ({ files }: Source) => files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

function printLines({ source, secrets, warnings }: Project): void {
  const { root, appRoot, decidedBy, files, leftOut } = source;
  printJson({ type: 'source', root, appRoot, decidedBy, files: files.length, sizeBytes: totalOf(source) });
  for (const { path, kind, sizeBytes, difference = null, rule = null } of files.toSorted(bySize))
    printJson({ type: 'file', path, kind, sizeBytes, difference, rule });
  for (const { path, why } of leftOut) printJson({ type: 'left_out', path, why });
  for (const { path, sizeBytes, namedBy } of secrets.sent) printJson({ type: 'secret_file', path, sizeBytes, namedBy });
  for (const path of secrets.notSent) printJson({ type: 'not_sent', path, flag: flagFor(source, path) });
  for (const folder of largeFoldersOf(source)) printJson({ type: 'large_folder', ...folder });
  for (const one of warnings) printJson({ type: 'warning', ...one });
}

const DIFFERENCES: Record<Difference, [mark: string, words: string]> = {
  brought_by_easignore: ['+', 'git ignores it, and .easignore does not'],
  brought_by_include: ['+', 'brought by --include'],
  in_nested_repository: ['+', 'in a repository of its own, which git would not add'],
  tracked_although_ignored: ['~', 'tracked, although a rule ignores it'],
  kept_by_negated_rule: ['~', 'a later rule keeps it'],
};

const DECIDED = {
  git: 'git',
  git_and_easignore: 'git, and .easignore takes more away',
  easignore: '.easignore, which replaces the rules of git',
  gitignore_files: 'the .gitignore files, because there is no git repository',
  no_git: 'the .gitignore files, because the program `git` was not found',
};

function decided({ decidedBy, gitIsMissing, leftOut }: Source): string {
  if (decidedBy === 'gitignore_files' && gitIsMissing) return DECIDED.no_git;
  const easignoreAdds = decidedBy === 'git' && leftOut.some(({ why }) => why === 'easignore');
  return DECIDED[easignoreAdds ? 'git_and_easignore' : decidedBy];
}

const LEFT_OUT_WORDS: Record<Source['leftOut'][number]['why'], string> = {
  ignored: 'ignored',
  easignore: 'named in .easignore',
  secret: 'looks like a secret, and git ignores it; EAS sends it',
  always: 'never goes along',
  apple_double: 'attributes of macOS',
  deleted: 'tracked, but not on the disk',
  not_checked_out: 'a submodule that is not checked out',
  no_file: 'neither a file nor a link',
};

function textOf({ source, secrets, warnings }: Project): string {
  const { root, appRoot, files, leftOut } = source;
  const line = (mark: string, sizeBytes: number | null, path: string, words = '') =>
    `${mark} ${(sizeBytes === null ? '' : size(sizeBytes)).padStart(9)}  ${escaped(path)}${words && `  (${printable(words)})`}`;
  const section = (title: string, lines: string[]) => (lines.length === 0 ? [] : ['', `${title}:`, ...lines]);
  const word = (count: number) => (count === 1 ? 'file' : 'files');
  return `${[
    ...files.toSorted(bySize).map(({ path, kind, target, sizeBytes, difference, rule }) => {
      const [mark, words] = difference ? DIFFERENCES[difference] : [' ', ''];
      const shown = kind === 'link' ? `${path} → ${target}` : path;
      return line(mark, sizeBytes, shown, rule ? `${words}: ${rule}` : words);
    }),
    ...section(
      'The largest folders',
      largeFoldersOf(source).map(({ path, sizeBytes }) => line(' ', sizeBytes, `${path}/`)),
    ),
    ...section(
      'Left out',
      leftOut.map(({ path, why }) => line('-', null, path, LEFT_OUT_WORDS[why])),
    ),
    ...section(
      'Secret files, which go sealed and not in the archive',
      secrets.sent.map(({ path, sizeBytes, namedBy }) => line('*', sizeBytes, path, NAMED_BY[namedBy])),
    ),
    ...section(
      'Not sent. If the build needs one of these, name it',
      secrets.notSent.map((path) => `  ${printable(flagFor(source, path))}`),
    ),
    ...section(
      'Look at these',
      warnings.map(({ path, message }) => `! ${escaped(path)}: ${printable(message)}`),
    ),
    '',
    `${files.length} ${word(files.length)}, ${size(totalOf(source))} before compression, from ${printable(root)}${appRoot === '.' ? '' : ` (the app is in ${printable(appRoot)})`}.`,
    `Decided by ${decided(source)}.`,
  ].join('\n')}\n`;
}

const NAMED_BY: Record<SecretFile['namedBy'], string> = {
  flag: 'named by --secret-file',
  'expo-build.json': 'named in expo-build.json',
  'credentials.json': 'signs the app: credentials.json',
};
