/** Composes the words that refusals share about the artifacts of a build. Pure. */

export const NO_ARTIFACTS = 'the build has no artifacts, or they are not kept any more; build anew';

const NAMED_MAX = 10;

/** The first ten of them, and how many more there are. */
export function listed(all: readonly string[]): string {
  const more = all.length > NAMED_MAX ? `, and ${all.length - NAMED_MAX} more` : '';
  return `${all.slice(0, NAMED_MAX).join(', ')}${more}`;
}

export const namesOf = (artifacts: readonly { name: string }[]): string => listed(artifacts.map(({ name }) => name));
