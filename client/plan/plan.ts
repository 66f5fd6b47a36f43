/**
 * Decides how a profile of a project is built, before there is a VM: the engine, the tools, the number, and
 * whether there is a problem.
 *
 * Invariant: it finds every problem that the source and the inputs of the build show. It reports only the
 * first one, as one sentence for the submitter.
 */
import { type App, type BuildNumberRequest, type Inputs, type Origin, BuildNumberRequest as Request } from '#contract';
import { type AppConfig, readAppConfig } from '../project/app-config.ts';
import { type BuildProfile, checkCustomBuild, resolveProfile } from '../project/build-profile.ts';
import { type EasJson, readEasJson } from '../project/eas-json.ts';
import { chooseEngine, type EngineChoice, isSigned } from '../project/engine.ts';
import { shown } from '../project/formats/text.ts';
import { type Found, found, problem } from '../project/found.ts';
import { makeJob, NUMBER_MARK } from '../project/job.ts';
import { type NativeTarget, nativeTargetOf } from '../project/native-target.ts';
import { numberPolicy } from '../project/number-policy.ts';
import { installWords, type PackageManager, packageManagerOf } from '../project/package-manager.ts';
import { findMissingAccess } from '../project/private-access.ts';
import { type ProjectFiles, pathIn, withFilesOver } from '../project/project-files.ts';
import { toolVersions } from '../project/tool-versions.ts';
import { type Workflow, workflowOf } from '../project/workflow.ts';
import type { Credentials, SigningTarget } from '../signing/credentials.ts';
import { hasCredentials } from '../signing/credentials-json.ts';
import { problemWithEas } from '../signing/eas-signing.ts';
import { readSigning } from '../signing/read-signing.ts';
import { withJsonForms } from './json-forms.ts';
import { isNameOfScript, TARGET_MARK } from './script-variables.ts';
import { type GivenVariables, RESERVED, sortVariables } from './variables.ts';

/** With this variable the engine may install other versions than those of the lock file. */
const NO_FROZEN_LOCKFILE = 'EAS_NO_FROZEN_LOCKFILE';

export interface PlanRequest {
  platform: 'ios' | 'android';
  profile: string;
  /** `.` or a folder of the source. */
  appRoot: string;
  /** From the request. */
  app?: App | undefined;
  origin?: Origin | undefined;
  originVariables: Readonly<Record<string, string>>;
  inputs: Inputs;
  /** The names of the image that the VM is made from. Null while the image is not known. */
  imageNames: readonly string[] | null;
  /** Of the source alone. */
  files: ProjectFiles;
  now: Date;
  /** The secrets that are stored for the project, if only the build itself gets their values. */
  unseen?: UnseenSecrets | undefined;
}

export interface UnseenSecrets {
  variables: readonly string[];
  /** Paths in the source. */
  files: readonly string[];
}

/** Whether the build needs a number, and who asks the controller for it. */
type NumberNeed =
  | { asked: 'never' }
  | { asked: 'before the boot'; request: BuildNumberRequest }
  /** The app config is a program, so only the VM can tell which app it is. */
  | { asked: 'in the VM'; increment: boolean };

export interface BuildPlan {
  platform: 'ios' | 'android';
  profile: string;
  appRoot: string;
  workflow: Workflow;
  engine: 'plugin' | 'eas';
  /** Lines for the log of the build. */
  notes: string[];
  manager: Pick<PackageManager, 'manager' | 'workspaceRoot' | 'install'>;
  tools: { name: string; version: string }[];
  /** For the engine `plugin`. */
  job: string | null;
  number: NumberNeed;
  exported: Readonly<Record<string, string>>;
  secret: GivenVariables['secret'];
  reserved: GivenVariables['reserved'];
  /** Further texts that no log may show. */
  secretTexts: string[];
}

/** A problem that ends the planning. */
class Wrong extends Error {
  override name = 'Wrong';
}

export async function makePlan(request: PlanRequest): Promise<Found<BuildPlan>> {
  return (await planWithProject(request)).made;
}

/** Also returns the facts that were read of the project: all, or all until the problem. */
export async function planWithProject(
  request: PlanRequest,
): Promise<{ made: Found<BuildPlan>; project: Partial<Project> }> {
  const planning = new Planning(request);
  try {
    const plan = await planning.plan();
    return { made: found(plan), project: planning.project };
  } catch (error) {
    if (error instanceof Wrong) return { made: problem(error.message), project: planning.project };
    throw error;
  }
}

/** The facts that were read of the project. */
export interface Project {
  easJson: EasJson;
  profile: BuildProfile;
  /** Whether the build brings a certificate or a keystore. */
  hasLocalCredentials: boolean;
  engine: EngineChoice;
  workflow: Workflow;
  app: AppConfig;
  /** Null for Android, and where only the VM can tell. */
  target: NativeTarget | null;
  manager: PackageManager;
  /** The files that sign the app. Null if it is not signed, or if only the build will have them. */
  credentials: Credentials | null;
}

type ReadProject = Pick<Project, 'easJson' | 'profile' | 'workflow' | 'app' | 'target' | 'manager'>;

class Planning {
  readonly #request: PlanRequest;
  readonly #files: ProjectFiles;
  readonly #secretFiles: ReadonlyMap<string, Buffer>;
  readonly #given: GivenVariables;
  readonly #notes: string[] = [];
  readonly project: Partial<Project> = {};
  readonly #unseen: UnseenSecrets;
  #signsUnseen = false;

  constructor(request: PlanRequest) {
    this.#request = request;
    this.#secretFiles = new Map(
      Object.entries(request.inputs.secretFiles ?? {}).map(([path, text]) => [path, Buffer.from(text, 'base64')]),
    );
    this.#files = withFilesOver(request.files, this.#secretFiles);
    this.#given = sortVariables(request.inputs);
    this.#unseen = request.unseen ?? { variables: [], files: [] };
  }

  async plan(): Promise<BuildPlan> {
    const { platform, appRoot, profile: name, originVariables, imageNames } = this.#request;
    const { project } = this;
    this.#checkFolder();
    const easJson = (project.easJson = this.#take(await readEasJson(this.#files, appRoot)));
    const profile = (project.profile = this.#take(resolveProfile(easJson, platform, name, { imageNames })));
    const hasLocalCredentials = (project.hasLocalCredentials = await this.#hasCredentials(profile));
    const { engine, because } = (project.engine = chooseEngine(profile, { hasLocalCredentials }));
    this.#notes.unshift(because);
    this.#take(checkCustomBuild(this.#files, appRoot, profile));
    const workflow = (project.workflow = await workflowOf(this.#files, appRoot, platform));
    const app = (project.app = this.#take(await readAppConfig(this.#files, appRoot, platform, workflow, profile)));
    if (engine === 'eas') this.#checkExpo(app, profile, workflow);
    // Later ones override earlier ones, in the order of the engine.
    const env = { ...originVariables, ...this.#given.plain, ...profile.env, ...this.#given.secret };
    const manager = (project.manager = this.#take(
      await packageManagerOf(this.#files, appRoot, { env, yarn: profile.yarn }),
    ));
    const { workspaceRoot } = manager;
    const tools = this.#take(await toolVersions(this.#files, appRoot, workspaceRoot, profile, manager.manager));
    const has = new Set([...namesGiven(this.#request.inputs, profile), ...this.#unseen.variables]);
    this.#notes.push(...(await findMissingAccess(this.#files, appRoot, workspaceRoot, has)));
    const target = (project.target =
      platform === 'ios' ? this.#take(await nativeTargetOf(this.#files, appRoot, workflow, profile, app)) : null);
    const read = { easJson, profile, workflow, app, target, manager };
    const built = engine === 'plugin' ? await this.#forPlugin(read) : await this.#forExpo(read, hasLocalCredentials);
    return {
      ...{ platform, profile: name, appRoot, workflow, engine, tools },
      manager: { ...manager, install: this.#installWords(manager, profile) },
      ...built,
      notes: this.#notes,
      exported: this.#exported(originVariables),
      secret: this.#given.secret,
      reserved: this.#given.reserved,
    };
  }

  #take<T>(one: Found<T>): T {
    if (!one.ok) throw new Wrong(one.problem);
    this.#notes.push(...one.notes);
    return one.value;
  }

  #checkFolder(): void {
    const { appRoot } = this.#request;
    if (appRoot === '.') return;
    for (const path of this.#files.paths) if (path.startsWith(`${appRoot}/`)) return;
    throw new Wrong(
      `The source has no folder ${JSON.stringify(appRoot)}, which \`projectRoot\` of the request names: give the folder of the app, relative to the root of the source.`,
    );
  }

  /** Finds values that `eas build --local` would miss only after minutes in the VM. */
  #checkExpo(app: AppConfig, profile: BuildProfile, workflow: Workflow): void {
    if (!this.#given.reserved.EXPO_TOKEN && !this.#unseen.variables.includes('EXPO_TOKEN'))
      throw new Wrong(
        `The profile ${JSON.stringify(this.#request.profile)} needs Expo's servers, and the build has no EXPO_TOKEN: set it as a secret variable, with \`expo-build secrets set EXPO_TOKEN\` or \`--secret-env EXPO_TOKEN\` (make a token at expo.dev under Access tokens), or let the profile use local credentials and no \`environment\`.`,
      );
    if (app.kind === 'static' && !app.projectId)
      throw new Wrong(
        `The app config has no \`extra.eas.projectId\`, which Expo's servers know the project by: run \`eas init\` in the project and commit what it writes.`,
      );
    if (app.kind === 'static' && workflow === 'managed' && app.appId === null)
      throw new Wrong(
        `The app config has no \`${idField(profile.platform)}\`, which \`eas build\` cannot ask a robot for: add it to ${app.file}.`,
      );
  }

  #exported(originVariables: Readonly<Record<string, string>>): Record<string, string> {
    const all = { ...originVariables, ...this.#given.plain };
    for (const name of Object.keys(this.#given.secret)) delete all[name];
    for (const name of Object.keys(all))
      if (isNameOfScript(name)) {
        delete all[name];
        this.#notes.push(
          `The variable \`${name}\` is not passed on, because Tartbeat's own script has a variable of that name.`,
        );
      }
    return all;
  }

  /** Any value of the variable counts, also `0`, as in the engine. */
  #installWords({ manager, modernYarn, install }: PackageManager, profile: BuildProfile): string {
    const { plain, secret } = this.#given;
    const isAsked = [secret, profile.env, plain]
      .map((one) => one?.[NO_FROZEN_LOCKFILE])
      .find((one) => one !== undefined);
    return isAsked ? installWords(manager, modernYarn, false) : install;
  }

  async #forPlugin(project: ReadProject): Promise<Pick<BuildPlan, 'job' | 'number' | 'secretTexts'>> {
    const { appRoot, origin } = this.#request;
    const credentials = (this.project.credentials = await this.#credentials(project));
    const number = this.#number(project);
    const job = this.#take(
      makeJob({
        ...{ ...project, appRoot },
        buildNumber: number.asked === 'never' ? null : NUMBER_MARK,
        credentials: credentials?.buildCredentials ?? (this.#signsUnseen ? {} : null),
        environmentSecrets: Object.entries(this.#given.secret).map(([name, value]) => ({ name, value })),
        gitCommitHash: origin?.commit ?? null,
        packageManager: project.manager.manager,
      }),
    );
    return { job: JSON.stringify(job), number, secretTexts: withJsonForms(credentials?.secrets ?? []) };
  }

  /** eas-cli itself makes the job and reads the signing files, and Expo's servers count the builds. */
  async #forExpo(
    project: ReadProject,
    hasLocalCredentials: boolean,
  ): Promise<Pick<BuildPlan, 'job' | 'number' | 'secretTexts'>> {
    const { appRoot } = this.#request;
    const { profile } = project;
    const built = (secretTexts: string[]) => ({ job: null, number: { asked: 'never' as const }, secretTexts });
    if (!isSigned(profile)) return built([]);
    if (profile.credentialsSource !== 'local') {
      if (hasLocalCredentials) this.#notes.push(OWN_FILES_NOT_USED);
      return built([]);
    }
    const credentials = (this.project.credentials = await this.#credentials(project));
    if (this.#signsUnseen) return built([]);
    const wrong = await problemWithEas(this.#files, appRoot, credentials);
    if (wrong !== null) throw new Wrong(wrong);
    return built(withJsonForms(credentials?.secrets ?? []));
  }

  /** Null if the app is not signed. */
  async #credentials({ profile, target }: ReadProject): Promise<Credentials | null> {
    // The steps of a custom build may sign by themselves. With `environment`, eas-cli wants credentials.
    const isCustom = profile.config !== undefined && profile.environment === undefined;
    if (isCustom && !(await this.#hasCredentials(profile))) return null;
    if (isSigned(profile) && this.#isSignedByUnseen(profile.platform)) {
      this.#signsUnseen = true;
      this.#notes.push(SIGNS_UNSEEN);
      return null;
    }
    const known = (target?.targets ?? []).map(({ name, bundleId }) => ({ target: name, bundleId }));
    if (target || profile.platform === 'android') return this.#take(await this.#signing(profile, known));
    // Only the VM knows the target's name. If credentials.json has names of its own, those count.
    const unnamed = await this.#signing(profile, [{ target: TARGET_MARK, bundleId: null }]);
    if (unnamed.ok) return this.#take(unnamed);
    const named = await this.#signing(profile, []);
    const hasNames = !named.ok || (named.value?.platform === 'ios' && named.value.targets.length > 0);
    return this.#take(hasNames ? named : unnamed);
  }

  async #hasCredentials({ platform }: BuildProfile): Promise<boolean> {
    if (this.#isSignedByUnseen(platform)) return true;
    return await hasCredentials(this.#files, this.#request.appRoot, platform, this.#secretFiles);
  }

  /** A stored password alone counts too, because the given certificate does not open without it. */
  #isSignedByUnseen(platform: 'ios' | 'android'): boolean {
    const { files, variables } = this.#unseen;
    if (files.includes(pathIn(this.#request.appRoot, 'credentials.json') ?? '')) return true;
    if (platform === 'android') return false;
    const isCertificate = (path: string) => /\.p12$/i.test(path);
    return (
      files.some(isCertificate) ||
      (variables.includes('P12_PASSWORD') && [...this.#secretFiles.keys()].some(isCertificate))
    );
  }

  async #signing(profile: BuildProfile, targets: readonly SigningTarget[]): Promise<Found<Credentials | null>> {
    const { appRoot, now, inputs } = this.#request;
    const given = { files: this.#files, secretFiles: this.#secretFiles, env: inputs.env };
    return await readSigning({ ...given, appRoot, profile, targets, now });
  }

  #number({ easJson, profile, app }: ReadProject): NumberNeed {
    const { platform, app: asked } = this.#request;
    const { policy, notes } = numberPolicy(easJson, profile);
    this.#notes.push(...notes);
    if (policy === 'none') return { asked: 'never' };
    if (platform === 'ios' && profile.simulator && !asked) {
      this.#notes.push('An app for the simulator gets no build number, so none is taken from the counter.');
      return { asked: 'never' };
    }
    const increment = policy === 'increment';
    if (asked) return { asked: 'before the boot', request: { app: asked, increment } };
    if (app.appId === null && app.kind === 'dynamic') return { asked: 'in the VM', increment };
    const field = idField(platform);
    if (app.appId === null && app.nativeFile !== null)
      throw new Wrong(
        `The build needs a number, and ${JSON.stringify(app.nativeFile)} does not say plainly which id the app has: give \`app\` in the request, or write \`${field}\` into the app config.`,
      );
    if (app.appId === null)
      throw new Wrong(
        `The build needs a number, and the app config has no \`${field}\` to know the app by: add it, or give \`app\` in the request.`,
      );
    const given = Request.shape.app.safeParse(appOf(app.appId, app));
    if (given.success) return { asked: 'before the boot', request: { app: given.data, increment } };
    throw new Wrong(`\`${field}\` of the app config is ${shown(app.appId)}, which no store takes: correct it.`);
  }
}

const SIGNS_UNSEEN =
  'The signing files of the app are stored for the project. Nobody can read them, so they are checked when the build begins.';

const OWN_FILES_NOT_USED =
  "The signing files that the build brings are not used, because `eas build --local` takes those of Expo's server (`credentialsSource: remote`): for your own, set `credentialsSource: local` in the profile.";

const idField = (platform: 'ios' | 'android') => (platform === 'ios' ? 'ios.bundleIdentifier' : 'android.package');

/** The guest scripts take access data only from the secrets of the build, so the profile's do not count. */
const namesGiven = ({ env }: Inputs, profile: BuildProfile): string[] => [
  ...Object.keys(env),
  ...Object.keys(profile.env ?? {}).filter((name) => !(RESERVED as readonly string[]).includes(name)),
];

/** A number or a version that no store accepts is left out. The counter then decides. */
export function appOf(
  id: string,
  { version, buildNumber }: { version?: string | null | undefined; buildNumber?: number | null | undefined },
): App {
  const { shape } = Request.shape.app;
  return {
    id,
    ...(shape.version.safeParse(version ?? undefined).success && version && { version }),
    ...(shape.buildNumber.safeParse(buildNumber ?? undefined).success && buildNumber && { buildNumber }),
  };
}
