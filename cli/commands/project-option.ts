/** Decides which project a command is about. */
import type { ProjectClient } from '../../client/project-client.ts';
import { CommandError } from '../command-error.ts';

export const PROJECT_OPTION = ['--project <name>', 'which project, if the key reaches several'] as const;

const NAMED_MAX = 20;

/** The one that is named, or the only one that the key reaches. */
export async function projectOf(client: ProjectClient, named: string | undefined): Promise<string> {
  if (named !== undefined) return named;
  const names = (await client.projects()).map(({ name }) => name);
  if (names.length === 1) return names[0]!;
  if (names.length === 0) throw new CommandError('This key reaches no project. Ask an admin for one that does.');
  const more = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
  throw new CommandError(`Name one with --project: ${names.slice(0, NAMED_MAX).join(', ')}${more}.`);
}
