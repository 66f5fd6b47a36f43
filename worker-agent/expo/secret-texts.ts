/**
 * Finds further texts that no log may show in what a build is given: parts of files that a tool may print
 * apart from the rest, and the forms that values have inside JSON. Pure.
 */
import type { Inputs } from '#contract';
import { RESERVED } from './variables.ts';

/** Beside the values of secret variables and the contents of secret files, which are masked as they are. */
export function furtherSecretsOf({ env, secretNames, secretFiles = {} }: Inputs): string[] {
  const reserved = RESERVED.filter((name) => name !== 'GIT_KNOWN_HOSTS').flatMap((name) => env[name] ?? []);
  const values = [...(secretNames ?? []).flatMap((name) => env[name] ?? []), ...reserved];
  const passwords = Object.entries(secretFiles)
    .filter(([path]) => path.split('/').at(-1) === 'credentials.json')
    .flatMap(([, content]) => passwordsIn(Buffer.from(content, 'base64').toString('utf8')));
  const tokens = [...tokensInNpmrc(env.NPMRC ?? ''), ...tokensInNetrc(env.NETRC ?? '')];
  return withJsonForms([...values, ...passwords, ...tokens]);
}

/** Each text, and how it looks inside a JSON text, which a tool may print of a job or of an environment. */
export function withJsonForms(texts: readonly string[]): string[] {
  return [...new Set(texts.flatMap((text) => [text, JSON.stringify(text).slice(1, -1)]))];
}

/** The values of all fields whose name has `password` in it. */
function passwordsIn(json: string): string[] {
  const found: string[] = [];
  try {
    JSON.parse(json, (name, value) => {
      if (/password/i.test(name) && typeof value === 'string') found.push(value);
      return value;
    });
  } catch {
    // No JSON: the plan says so.
  }
  return found;
}

const tokensInNpmrc = (text: string): string[] =>
  [...text.matchAll(/^[^\n=]*:_(?:authToken|auth|password)\s*=\s*"?([^"\s]+)/gm)].map(([, token]) => token!);

const tokensInNetrc = (text: string): string[] =>
  [...text.matchAll(/(?:^|\s)password\s+(\S+)/g)].map(([, token]) => token!);
