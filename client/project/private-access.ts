/**
 * Says which private hosts a project names whose secret is missing, in lines for the log before the install.
 *
 * It only informs. It cannot know whether a host is private, so a host counts as private if the project uses
 * SSH for it, or if it is not one of the well-known public hosts.
 *
 * Invariant: each line begins with {@link PRIVATE_ACCESS}, and has one host or variable. A last line may say
 * that the search was not complete. The explanation of a failed install repeats these lines.
 */

import { foldersUp } from './dependencies/package-manager-field.ts';
import { type NamedHost, namedHosts } from './dependencies/private-hosts.ts';
import { readText } from './dependencies/read-file.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

export const PRIVATE_ACCESS = 'Private access: ';

/** A project that names more hosts has a wrong lock file, or wants to fill the log. */
const LINES_MAX = 20;
/** The rest of a longer .npmrc or .yarnrc.yml is ignored. */
const SETTINGS_MAX_CHARS = 256 * 1024;

const PUBLIC_HOSTS = new Set([
  'registry.npmjs.org',
  'registry.npmjs.com',
  'registry.yarnpkg.com',
  'registry.npmmirror.com',
  'npm.jsr.io',
  'github.com',
  'www.github.com',
  'codeload.github.com',
  'raw.githubusercontent.com',
  'gitlab.com',
  'bitbucket.org',
  'gist.github.com',
  'pkg.pr.new',
  'cdn.cocoapods.org',
  'trunk.cocoapods.org',
  'cdn.jsdelivr.net',
  'esm.sh',
]);

const FORGES = new Set(['github.com', 'gitlab.com', 'bitbucket.org', 'ssh.bitbucket.org']);

/** `has` has the names of the build's secrets and variables. */
export async function findMissingAccess(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  has: ReadonlySet<string>,
): Promise<string[]> {
  const { hosts, isWhole } = await namedHosts(files);
  const lines = [
    ...(await missingVariables(files, appRoot, workspaceRoot, has)),
    ...hosts.flatMap((named) => missing(named, has) ?? []),
  ].slice(0, LINES_MAX);
  if (!isWhole)
    lines.push(
      'The project has more lock files and package.json files than are searched, so a host may be missing here.',
    );
  return lines.map((line) => PRIVATE_ACCESS + printable(line));
}

function missing({ host, port, way, file }: NamedHost, has: ReadonlySet<string>): string | null {
  if (way === 'ssh') {
    if (!has.has('GIT_SSH_KEY'))
      return `${file} fetches from ${host} over SSH, but this build has no secret GIT_SSH_KEY. Store a private key that may read there.`;
    if (!FORGES.has(host) && !has.has('GIT_KNOWN_HOSTS'))
      return `${file} fetches from ${host} over SSH, but this build has no secret GIT_KNOWN_HOSTS with the host keys of ${host}. Store what \`ssh-keyscan ${port === null ? '' : `-p ${port} `}${host}\` prints, after you have compared it with what its operator publishes.`;
    return null;
  }
  if (PUBLIC_HOSTS.has(host)) return null;
  if (has.has('NETRC') || (way === 'registry' && has.has('NPMRC'))) return null;
  return way === 'git'
    ? `${file} fetches from ${host} by git over HTTPS, but this build has no secret NETRC. If ${host} asks for a password, store a line \`machine ${host} login … password …\`.`
    : `${file} fetches packages from ${host}, but this build has no secret NPMRC. If ${host} asks for a token, store a line \`//${host}${port === null ? '' : `:${port}`}/:_authToken=…\`.`;
}

/** The tokens that the project's own settings take from a variable. */
async function missingVariables(
  files: ProjectFiles,
  appRoot: string,
  workspaceRoot: string,
  has: ReadonlySet<string>,
): Promise<string[]> {
  if (has.has('NPMRC') || has.has('NETRC')) return [];
  const lines = new Map<string, string>();
  for (const folder of foldersUp(appRoot, workspaceRoot))
    for (const name of ['.npmrc', '.yarnrc.yml']) {
      const file = pathIn(folder, name)!;
      const text = await readText(files, file, SETTINGS_MAX_CHARS);
      for (const line of (text ?? '').split('\n').filter((each) => /_auth|_password|npmAuth/i.test(each)))
        for (const [, variable] of line.slice(0, 2000).matchAll(/\$\{([A-Za-z_]\w{0,100})(?::?-[^}\n]{0,100})?\}/g)) {
          if (lines.size >= LINES_MAX) return [...lines.values()];
          if (!has.has(variable!) && !lines.has(variable!))
            lines.set(
              variable!,
              `${file} takes a token from the variable \`${variable}\`, which this build does not have. Store it as a secret, or store the whole line as the secret NPMRC.`,
            );
        }
    }
  return [...lines.values()];
}

/** File names come from the project, and a person reads the line in a terminal. */
const printable = (line: string) => line.replace(/[\p{Cc}\p{Cf}]/gu, '?').slice(0, 500);
