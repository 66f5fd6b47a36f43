/**
 * Sorts the variables that a build of a profile is given: plain ones, secret ones, and those that Tartbeat
 * itself needs. Pure.
 *
 * Invariant: a reserved variable is in neither of the other two groups, so no engine and no tool of the
 * project gets it as a variable.
 */
import { type Inputs, looksSecret } from '#contract';

/**
 * P12_PASSWORD opens the certificate, EXPO_TOKEN is for the engine `eas`, and the other four give access to
 * private packages.
 */
export const RESERVED = ['P12_PASSWORD', 'EXPO_TOKEN', 'GIT_SSH_KEY', 'GIT_KNOWN_HOSTS', 'NETRC', 'NPMRC'] as const;
type Reserved = (typeof RESERVED)[number];

export interface GivenVariables {
  plain: Readonly<Record<string, string>>;
  secret: Readonly<Record<string, string>>;
  reserved: Readonly<Partial<Record<Reserved, string>>>;
}

const isReserved = (name: string): name is Reserved => (RESERVED as readonly string[]).includes(name);

export function sortVariables({ env, secretNames }: Inputs): GivenVariables {
  const plain: Record<string, string> = {};
  const secret: Record<string, string> = {};
  const reserved: Partial<Record<Reserved, string>> = {};
  for (const [name, value] of Object.entries(env)) {
    const isSecret = secretNames ? secretNames.includes(name) : looksSecret(name, value);
    if (isReserved(name)) reserved[name] = value;
    else if (isSecret) secret[name] = value;
    else plain[name] = value;
  }
  return { plain, secret, reserved };
}
