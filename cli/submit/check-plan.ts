/**
 * Says before anything is sent that a build would be refused on the Mac.
 *
 * Invariant: only what is certain here refuses. The plan is the one that the agent makes of the same source.
 * Stored secrets have values that nobody can read, so whatever they could mend is no reason. Which images a
 * Mac has is not known here either.
 */
import { makePlan, type UnseenSecrets } from '../../client/plan/plan.ts';
import { RESERVED } from '../../client/plan/variables.ts';
import { pathIn } from '../../client/project/project-files.ts';
import type { Request } from './build-request.ts';
import type { BuildChoice } from './choose-build.ts';
import type { Project } from './read-project.ts';
import { NO_SECRETS } from './stored-secrets.ts';

/** Those of the project. Null: they are not known. It is asked only if the build is refused without any. */
type Stored = () => Promise<UnseenSecrets | null>;

/** The sentence with which the build would end. Null: it is built, or only the Mac can tell. */
export async function refusalOf(
  { source, files }: Project,
  { platform, profile }: BuildChoice,
  request: Request,
  stored: Stored,
): Promise<string | null> {
  if (profile === null) return null;
  const { env = {}, secretEnv = {}, secretFiles = {}, app } = request;
  const inputs = { env: { ...env, ...secretEnv }, secretNames: Object.keys(secretEnv), secretFiles };
  const given = { platform, profile, app, appRoot: source.appRoot, files, inputs, imageNames: null };
  const problemWith = async (unseen: UnseenSecrets): Promise<string | null> => {
    const made = await makePlan({ ...given, unseen, originVariables: {}, now: new Date() });
    return made.ok ? null : made.problem;
  };
  const alone = await problemWith(NO_SECRETS);
  // A trusted key does not give stored secrets to a stranger's source.
  if (alone === null || request.trusted === false) return alone;
  const known = await stored();
  const problem = await problemWith(known ?? { variables: RESERVED, files: [] });
  if (problem === null || (known !== null && !mayMend(known))) return problem;
  const signing = { variables: known?.variables ?? RESERVED, files: [pathIn(source.appRoot, 'credentials.json')!] };
  const signed = await problemWith(signing);
  // A stored file lies over the one of the source.
  return known?.files.some((path) => signed?.includes(path)) ? null : signed;
}

/** Whether it can hold what signs the app, which alone brings another engine too. */
const mayMend = ({ variables, files }: UnseenSecrets): boolean =>
  files.length > 0 || variables.includes('P12_PASSWORD');
