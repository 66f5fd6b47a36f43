/**
 * Tells which variables of a build are secret. Pure.
 *
 * The request says it, if its client knows `secretEnv`. Older clients put everything into `env`. There a
 * value counts as secret if its name or its length looks secret.
 */
import { looksSecret } from '#contract';

/** The values that must not be seen. `secretNames` is undefined if the request did not tell. */
export const secretValuesOf = (
  env: Readonly<Record<string, string>>,
  secretNames: readonly string[] | undefined,
): string[] =>
  Object.entries(env)
    .filter(([name, value]) => (secretNames ? secretNames.includes(name) : looksSecret(name, value)))
    .map(([, value]) => value);
