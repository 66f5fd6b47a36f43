/**
 * Says, before anything is sent, whether the agent would refuse a build.
 *
 * Invariant: it refuses a build only if the agent would certainly refuse it. The plan is the one that the
 * agent makes of the same source. This command cannot read the values of stored secrets, so it does not
 * report a problem that they could solve. It does not know the images of a Mac either.
 */
import { makePlan, type UnseenSecrets } from '../../client/plan/plan.ts';
import { RESERVED } from '../../client/plan/variables.ts';
import { pathIn } from '../../client/project/project-files.ts';
import type { Request } from './build-request.ts';
import type { BuildChoice } from './choose-build.ts';
import type { Project } from './read-project.ts';
import { NO_SECRETS } from './stored-secrets.ts';

/**
 * The stored secrets of the project. Null: they are not known. Called only if the build is refused without
 * any.
 */
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
  // A stored file replaces the one of the source.
  return known?.files.some((path) => signed?.includes(path)) ? null : signed;
}

/** Whether the stored secrets may sign the app. Signing secrets can also change the engine. */
const mayMend = ({ variables, files }: UnseenSecrets): boolean =>
  files.length > 0 || variables.includes('P12_PASSWORD');
