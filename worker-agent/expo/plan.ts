/**
 * Decides how a profile of a project is built, before there is a VM: which engine, with which tools, with
 * which number, and what is wrong.
 *
 * Invariant: all that can be told from the source and from what the build is given is told here. The first
 * problem is the only one, and it is one sentence for the submitter.
 */
import {
  type App,
  ArtifactGlob,
  type BuildNumberRequest,
  BuildNumberRequest as BuildNumberRequestSchema,
  type Inputs,
  type Origin,
} from '#contract';
import { type Found, found, problem } from '../../client/project/found.ts';
import { type ProjectFiles, withFilesOver } from '../../client/project/project-files.ts';
import type { AppConfig, Manager, PlatformName, Profile, ProjectReader } from './project-reader.ts';
import { isNameOfScript, JOB_NUMBER } from './script-variables.ts';
import { withJsonForms } from './secret-texts.ts';
import { type GivenVariables, sortVariables } from './variables.ts';

/** Where the guest scripts put what a build of a profile has made. */
export const PROFILE_ARTIFACTS = 'tartbeat-artifacts';
export const PROFILE_GLOB = ArtifactGlob.parse({ glob: `${PROFILE_ARTIFACTS}/**`, required: true, onFailure: true });

export interface PlanRequest {
  platform: PlatformName;
  profile: string;
  /** `.` or a folder of the source. */
  appRoot: string;
  /** As the request has it. */
  app?: App | undefined;
  origin?: Origin | undefined;
  originVariables: Readonly<Record<string, string>>;
  inputs: Inputs;
  /** Of the source alone. */
  files: ProjectFiles;
  now: Date;
}

/** Whether the build needs a number, and who asks the controller for it. */
export type NumberNeed =
  | { asked: 'never' }
  | { asked: 'before the boot'; request: BuildNumberRequest }
  /** The app config is a program, so only the VM can tell which app it is. */
  | { asked: 'in the VM'; increment: boolean };

export interface BuildPlan {
  platform: PlatformName;
  profile: string;
  appRoot: string;
  engine: 'plugin' | 'eas';
  /** Lines for the log of the build. */
  notes: string[];
  manager: Manager;
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

export async function makePlan(request: PlanRequest, reader: ProjectReader): Promise<Found<BuildPlan>> {
  try {
    return found(await new Planning(request, reader).plan());
  } catch (error) {
    if (error instanceof Wrong) return problem(error.message);
    throw error;
  }
}

class Planning {
  readonly #request: PlanRequest;
  readonly #reader: ProjectReader;
  readonly #files: ProjectFiles;
  readonly #secretFiles: ReadonlyMap<string, Buffer>;
  readonly #given: GivenVariables;
  readonly #notes: string[] = [];

  constructor(request: PlanRequest, reader: ProjectReader) {
    this.#request = request;
    this.#reader = reader;
    this.#secretFiles = new Map(
      Object.entries(request.inputs.secretFiles ?? {}).map(([path, text]) => [path, Buffer.from(text, 'base64')]),
    );
    this.#files = withFilesOver(request.files, this.#secretFiles);
    this.#given = sortVariables(request.inputs);
  }

  async plan(): Promise<BuildPlan> {
    const { platform, appRoot, profile: name, originVariables } = this.#request;
    this.#checkFolder();
    const easJson = this.#take(await this.#reader.readEasJson(this.#files, appRoot));
    const profile = this.#take(this.#reader.resolveProfile(easJson, platform, name));
    const { engine, because } = this.#reader.chooseEngine(profile);
    this.#notes.unshift(`The profile ${name} is built with the engine ${engine}: ${because}.`);
    const workflow = await this.#reader.workflowOf(this.#files, appRoot, platform);
    const app = this.#take(await this.#reader.readAppConfig(this.#files, appRoot, platform, workflow));
    if (engine === 'eas') this.#checkExpo(app);
    const manager = this.#take(await this.#reader.packageManagerOf(this.#files, appRoot));
    const tools = this.#take(await this.#reader.toolVersions(this.#files, appRoot, manager, profile));
    const has = new Set([...Object.keys(this.#given.reserved), ...Object.keys(this.#given.secret)]);
    this.#notes.push(...(await this.#reader.findMissingAccess(this.#files, appRoot, manager.workspaceRoot, has)));
    const built =
      engine === 'plugin'
        ? await this.#forPlugin({ easJson, profile, workflow, app })
        : { job: null, number: { asked: 'never' } as const, secretTexts: [] };
    return {
      ...{ platform, profile: name, appRoot, engine, manager, tools },
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
      `The source has no folder ${JSON.stringify(appRoot)}, which \`projectRoot\` of the request names: give the folder of the app, relative to the root of the source (links do not count).`,
    );
  }

  /** What `eas build --local` would miss only after minutes in the VM. */
  #checkExpo(app: AppConfig): void {
    if (!this.#given.reserved.EXPO_TOKEN)
      throw new Wrong(
        `The profile ${JSON.stringify(this.#request.profile)} needs Expo's servers, and the build has no EXPO_TOKEN: set it as a secret variable (make a token at expo.dev under Access tokens), or let the profile use local credentials and no \`environment\`.`,
      );
    if (app.kind === 'static' && app.projectId === null)
      throw new Wrong(
        `The app config has no \`extra.eas.projectId\`, which Expo's servers know the project by: run \`eas init\` in the project and commit what it writes.`,
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

  async #forPlugin(project: {
    easJson: unknown;
    profile: Profile;
    workflow: 'managed' | 'generic';
    app: AppConfig;
  }): Promise<Pick<BuildPlan, 'job' | 'number' | 'secretTexts'>> {
    const { platform, appRoot, now, origin, profile: name } = this.#request;
    const { profile, workflow, app } = project;
    const { env } = this.#request.inputs;
    const signing = this.#take(
      await this.#reader.readSigning({
        ...{ files: this.#files, appRoot, platform, workflow, profile, app, now, env },
        secretFiles: this.#secretFiles,
      }),
    );
    const number = this.#number(project);
    const job = this.#take(
      await this.#reader.makeJob({
        ...{ files: this.#files, profile, profileName: name, platform, workflow, appRoot, app },
        buildNumber: number.asked === 'never' ? null : JOB_NUMBER,
        credentials: signing?.buildCredentials ?? null,
        environmentSecrets: this.#given.secret,
        commit: origin?.commit ?? null,
      }),
    );
    return { job: JSON.stringify(job), number, secretTexts: withJsonForms(signing?.secrets ?? []) };
  }

  #number({ easJson, profile, app }: { easJson: unknown; profile: Profile; app: AppConfig }): NumberNeed {
    const { platform, app: asked } = this.#request;
    const wanted = this.#take(this.#reader.numberWanted(easJson, profile, platform));
    if (wanted === null) return { asked: 'never' };
    if (asked) return { asked: 'before the boot', request: { app: asked, increment: wanted.increment } };
    if (app.kind === 'dynamic') return { asked: 'in the VM', increment: wanted.increment };
    const field = platform === 'ios' ? 'ios.bundleIdentifier' : 'android.package';
    if (app.appId === null)
      throw new Wrong(
        `The build needs a number, and the app config has no \`${field}\` to know the app by: add it, or give \`app\` in the request.`,
      );
    const given = BuildNumberRequestSchema.shape.app.safeParse(appOf(app.appId, app));
    if (!given.success)
      throw new Wrong(
        `\`${field}\` of the app config is ${JSON.stringify(app.appId)}, which no store takes: correct it.`,
      );
    return { asked: 'before the boot', request: { app: given.data, increment: wanted.increment } };
  }
}

/** A number or a version that no store takes is left out: the counter then decides. */
export function appOf(
  id: string,
  { version, buildNumber }: { version?: string | null | undefined; buildNumber?: number | null | undefined },
): App {
  const { shape } = BuildNumberRequestSchema.shape.app;
  return {
    id,
    ...(shape.version.safeParse(version ?? undefined).success && version && { version }),
    ...(shape.buildNumber.safeParse(buildNumber ?? undefined).success && buildNumber && { buildNumber }),
  };
}
