/**
 * Names the questions that a plan asks about a project, and who answers them.
 */
import type { Found } from '../../client/project/found.ts';
import type { ProjectFiles } from '../../client/project/project-files.ts';

export type PlatformName = 'ios' | 'android';

export type AppConfig =
  | {
      kind: 'static';
      name: string;
      slug: string;
      appId: string | null;
      version: string | null;
      buildNumber: number | null;
      sdkVersion: string | null;
      projectId: string | null;
    }
  /** A program, which only the VM runs. */
  | { kind: 'dynamic'; file: string };

export type Workflow = 'managed' | 'generic';

/** A resolved profile of eas.json, as far as a plan looks into it. Whatever else it has is for the reader. */
export interface Profile {
  readonly simulator?: boolean | undefined;
  readonly withoutCredentials?: boolean | undefined;
}

export interface Manager {
  manager: string;
  /** `.` or a folder of the source. */
  workspaceRoot: string;
  /** The words of the install command. */
  install: string;
}

export interface Signing {
  /** `secrets.buildCredentials` of the engine's job. */
  buildCredentials: object;
  /** Passwords. */
  secrets: readonly string[];
}

interface OfApp {
  files: ProjectFiles;
  appRoot: string;
  platform: PlatformName;
  workflow: Workflow;
  app: AppConfig;
}

export interface ProjectReader<EasJson = unknown, P extends Profile = Profile> {
  readEasJson(files: ProjectFiles, appRoot: string): Promise<Found<EasJson>>;
  resolveProfile(easJson: EasJson, platform: PlatformName, name: string): Found<P>;
  chooseEngine(profile: P): { engine: 'plugin' | 'eas'; because: string };
  workflowOf(files: ProjectFiles, appRoot: string, platform: PlatformName): Promise<Workflow>;
  readAppConfig(
    files: ProjectFiles,
    appRoot: string,
    platform: PlatformName,
    workflow: Workflow,
  ): Promise<Found<AppConfig>>;
  packageManagerOf(files: ProjectFiles, appRoot: string): Promise<Found<Manager>>;
  toolVersions(
    files: ProjectFiles,
    appRoot: string,
    manager: Manager,
    profile: P,
  ): Promise<Found<{ name: string; version: string }[]>>;
  findMissingAccess(
    files: ProjectFiles,
    appRoot: string,
    workspaceRoot: string,
    has: ReadonlySet<string>,
  ): Promise<string[]>;
  /** Null if the build needs no signature. */
  readSigning(
    of: OfApp & {
      profile: P;
      secretFiles: ReadonlyMap<string, Buffer>;
      env: Readonly<Record<string, string>>;
      now: Date;
    },
  ): Promise<Found<Signing | null>>;
  /** Null if the build has no number of Tartbeat's. */
  numberWanted(easJson: EasJson, profile: P, platform: PlatformName): Found<{ increment: boolean } | null>;
  /** What the engine is given: {job, metadata}. */
  makeJob(
    of: OfApp & {
      profile: P;
      profileName: string;
      buildNumber: string | null;
      credentials: object | null;
      environmentSecrets: Readonly<Record<string, string>>;
      commit: string | null;
    },
  ): Promise<Found<object>>;
}

/** The one that reads real projects. */
export const PROJECT: ProjectReader = {} as ProjectReader;
