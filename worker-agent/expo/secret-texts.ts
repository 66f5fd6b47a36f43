/**
 * Finds further texts that no log may show in the inputs and the source of a build: parts of files that a
 * tool may print apart from the rest, and the forms that values have inside JSON. Pure.
 *
 * Invariant: nothing here depends on whether the build can be planned. A certificate that has expired since
 * the build began still has a password.
 */
import type { Inputs } from '#contract';
import { withJsonForms } from '../../client/plan/json-forms.ts';
import { RESERVED } from '../../client/plan/variables.ts';
import { type ProjectFiles, pathIn, withFilesOver } from '../../client/project/project-files.ts';
import { passwordInsteadOfNone } from '../../client/signing/certificate.ts';
import { TARGETS_MAX } from '../../client/signing/credentials.ts';

/** Beside the values of secret variables and the contents of secret files, which are masked as they are. */
export function furtherSecretsOf({ env, secretNames, secretFiles = {} }: Inputs): string[] {
  const reserved = RESERVED.filter((name) => name !== 'GIT_KNOWN_HOSTS').flatMap((name) => env[name] ?? []);
  const values = [...(secretNames ?? []).flatMap((name) => env[name] ?? []), ...reserved];
  const passwords = Object.entries(secretFiles)
    .filter(([path]) => path.split('/').at(-1) === 'credentials.json')
    .flatMap(([, content]) => passwordsIn(Buffer.from(content, 'base64').toString('utf8')));
  const certificates = Object.entries(secretFiles)
    .filter(([path]) => /\.p12$/i.test(path))
    .map(([, content]) => passwordInsteadOfNone(Buffer.from(content, 'base64')));
  const tokens = [...tokensInNpmrc(env.NPMRC ?? ''), ...tokensInNetrc(env.NETRC ?? '')];
  return withJsonForms([...values, ...passwords, ...certificates, ...tokens]);
}

/**
 * The passwords that the source has. Secret files lie over it, so a credentials.json of either may name a
 * certificate of the other. Rejects if a file cannot be read.
 */
export async function secretsInSource(source: ProjectFiles, appRoot: string, inputs: Inputs): Promise<string[]> {
  const secretFiles = Object.entries(inputs.secretFiles ?? {});
  const files = withFilesOver(source, new Map(secretFiles.map(([path, text]) => [path, Buffer.from(text, 'base64')])));
  const path = pathIn(appRoot, 'credentials.json');
  const json = path === null ? null : ((await files.read(path))?.toString('utf8') ?? null);
  if (json === null) return [];
  const texts = passwordsIn(json);
  for (const named of [...new Set(textsIn(json, /^path$/))].slice(0, CERTIFICATES_MAX)) {
    const certificate = pathIn(appRoot, named);
    const content = certificate === null ? null : await files.read(certificate);
    if (content !== null) texts.push(passwordInsteadOfNone(content));
  }
  return withJsonForms(texts);
}

/** One for each target that can be signed. */
const CERTIFICATES_MAX = TARGETS_MAX;

const passwordsIn = (json: string): string[] => textsIn(json, /password/i);

/** The values of all fields whose names match. */
function textsIn(json: string, field: RegExp): string[] {
  const found: string[] = [];
  try {
    JSON.parse(json.replace(/^\uFEFF/, ''), (name, value) => {
      if (field.test(name) && typeof value === 'string') found.push(value);
      return value;
    });
  } catch {
    // The file is no JSON. The plan reports that.
  }
  return found;
}

const tokensInNpmrc = (text: string): string[] =>
  [...text.matchAll(/^[^\n=]*:_(?:authToken|auth|password)\s*=\s*"?([^"\s]+)/gm)].map(([, token]) => token!);

const tokensInNetrc = (text: string): string[] =>
  [...text.matchAll(/(?:^|\s)password\s+(\S+)/g)].map(([, token]) => token!);
