/** Reads the folder of an app: the files of the source, the secret files, and expo-build.json. */
import { join, relative, resolve, sep } from 'node:path';
import { fileBeside, filesOfSource } from '../../client/packing/files-of-source.ts';
import { findRoot, listSource, type Source } from '../../client/packing/list-source.ts';
import { findSecretFiles, type SecretFiles } from '../../client/packing/secret-files.ts';
import { type Warning, warningsOf } from '../../client/packing/warnings.ts';
import { EXPO_BUILD_JSON, type ExpoBuildJson, readExpoBuildJson } from '../../client/project/expo-build-json.ts';
import type { ProjectFiles } from '../../client/project/project-files.ts';
import { realPathOf } from '../../client/safe-files.ts';
import { CommandError } from '../command-error.ts';

export interface ProjectFlags {
  root?: string;
  include: string[];
  secretFile: string[];
  easignoreAdds: boolean;
}

export interface Project {
  source: Source;
  secrets: SecretFiles;
  json: ExpoBuildJson;
  /** The files of the source. */
  files: ProjectFiles;
  warnings: Warning[];
}

export async function readProject(
  folder: string,
  { root, include, secretFile, easignoreAdds }: ProjectFlags,
  { explain, signal }: { explain: boolean; signal: AbortSignal },
): Promise<Project> {
  const json = await readRemembered(folder, root);
  const globs = { include, includeOfProject: json.include };
  const listed = { appDir: folder, root, ...globs, easignoreAdds, explain, signal };
  const source = await listSource(listed);
  const secrets = await findSecretFiles(source, secretFile, resolve('.'));
  const sealed = secrets.sent.map(({ path }) => path);
  return {
    ...{ source, secrets, json },
    files: filesOfSource(source),
    warnings: [...warningsOf(source, sealed), ...secrets.warnings, ...secrets.missing.map(isMissing)],
  };
}

const isMissing = ({ path, namedBy }: SecretFiles['missing'][number]): Warning => ({
  code: 'secret_file_missing',
  path,
  message: `${namedBy} names this file, but it is not on this disk.`,
});

/** The flag that sends an ignored file. Its path counts from the current folder, so a person can copy it. */
export function flagFor({ root }: Source, inSource: string): string {
  const here = realPathOf('.') ?? resolve('.');
  const path = relative(here, join(root, inSource)).split(sep).join('/');
  return `--secret-file ${/^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`}`;
}

/** Reads expo-build.json, also if it is not part of the source. */
async function readRemembered(folder: string, givenRoot: string | undefined): Promise<ExpoBuildJson> {
  const place = findRoot(folder, givenRoot);
  const read = await readExpoBuildJson(fileBeside(place, EXPO_BUILD_JSON), place.appRoot);
  if (!read.ok) throw new CommandError(read.problem);
  return read.value;
}
