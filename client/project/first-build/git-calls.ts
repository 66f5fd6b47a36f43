/**
 * Finds the places where the build of a project calls git, for example for the number of commits, because no
 * `.git` goes along by itself.
 *
 * Invariant: it only informs. The number of files and of bytes that it reads is limited for any project.
 */
import { textOf } from '../formats/text.ts';
import { type ProjectFiles, pathIn } from '../project-files.ts';
import { xcodeProjectIn } from '../workflow.ts';

const FILE_MAX_BYTES = 4 * 1024 * 1024;
const LINE_MAX_CHARS = 20_000;
const CALLS_MAX = 10;

interface GitCall {
  file: string;
  /** The words of the call, such as `git rev-parse`. */
  call: string;
}

/** Commands that read the history. A build has no use for hooks and checkouts. */
const COMMAND = /\bgit["']?,?\s{0,9}["']?(rev-parse|rev-list|describe|log|show|shortlog|tag|branch|status|diff)\b/;
/** Actions of fastlane that read the history. */
const ACTION =
  /\b(last_git_commit|last_git_tag|git_branch|git_tag_exists|number_of_commits|changelog_from_git_commits|ensure_git_branch|ensure_git_status_clean)\b/;

export async function gitCallsIn(files: ProjectFiles, appRoot: string): Promise<GitCall[]> {
  const calls: GitCall[] = [];
  const places: [path: string | null, scripts: (text: string) => string[]][] = [
    [pathIn(appRoot, 'package.json'), scriptsOfPackage],
    [xcodeProjectIn(files, appRoot), scriptsOfXcode],
    ...['fastlane', 'ios/fastlane', 'android/fastlane'].map((folder): [string | null, (text: string) => string[]] => [
      pathIn(appRoot, `${folder}/Fastfile`),
      linesOf,
    ]),
    ...['build.gradle', 'build.gradle.kts', 'app/build.gradle', 'app/build.gradle.kts'].map(
      (name): [string | null, (text: string) => string[]] => [pathIn(appRoot, `android/${name}`), linesOf],
    ),
  ];
  for (const [path, scripts] of places) {
    const bytes = path !== null && files.paths.has(path) ? await files.read(path) : null;
    const text = bytes === null || bytes.length > FILE_MAX_BYTES ? null : textOf(bytes);
    if (path === null || text === null) continue;
    const found = new Set<string>();
    for (const script of scripts(text)) {
      const line = script.slice(0, LINE_MAX_CHARS);
      const command = COMMAND.exec(line)?.[1];
      const action = /Fastfile$/.test(path) ? ACTION.exec(line)?.[1] : undefined;
      if (command !== undefined) found.add(`git ${command}`);
      if (action !== undefined) found.add(action);
    }
    for (const call of found) if (calls.length < CALLS_MAX) calls.push({ file: path, call });
  }
  return calls;
}

/** Lines without comments, which Ruby and Gradle begin with `#` or `//`. */
const linesOf = (text: string): string[] => text.split('\n').filter((line) => !/^\s*(#|\/\/)/.test(line));

/** The scripts of build phases, each on one line. */
const scriptsOfXcode = (text: string): string[] => linesOf(text).filter((line) => line.includes('shellScript'));

function scriptsOfPackage(text: string): string[] {
  try {
    const { scripts } = JSON.parse(text) as { scripts?: unknown };
    return Object.values(scripts ?? {}).filter((script): script is string => typeof script === 'string');
  } catch {
    return [];
  }
}
