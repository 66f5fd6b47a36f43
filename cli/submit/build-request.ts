/** Makes the request for a build, and checks it as the controller will. */
import {
  BUILD_REQUEST_MAX_BYTES,
  BuildRequest,
  type BuildRequestInput,
  type Origin,
  SECRET_FILE_MAX_BYTES,
  type SubmitOptions,
  wordsOf,
} from '#contract';
import type { SecretFile } from '../../client/packing/secret-files.ts';
import { bytesOf } from '../../client/safe-files.ts';
import { CommandError } from '../command-error.ts';
import { size } from '../words.ts';
import type { BuildChoice } from './choose-build.ts';
import { keepMs, pairs, secretVariables, timeouts, wholeNumber } from './flag-values.ts';
import type { Project } from './read-project.ts';

export interface RequestFlags {
  project?: string;
  env: string[];
  secretEnv: string[];
  image?: string;
  pool?: string;
  priority?: string;
  group?: string;
  /** `auto`: it is computed, also without a person at a terminal. False: there is none. */
  fingerprint?: string | false;
  cancelSuperseded?: true;
  afterFailure?: string;
  maxAttempts?: string;
  label: string[];
  timeout: string[];
  untrusted?: true;
}

export interface Request extends Omit<BuildRequestInput, 'idempotencyKey'> {
  idempotencyKey: string;
}

interface Parts {
  project: Project;
  choice: BuildChoice;
  flags: RequestFlags;
  origin: Origin | null;
  submit: { options: SubmitOptions; app: BuildRequestInput['app'] } | null;
  fingerprint: string | null;
  idempotencyKey: string;
  sha256: string;
}

/** Throws CommandError with the flag that the controller would refuse. */
export function requestOf({ project, choice, flags, origin, submit, fingerprint, ...rest }: Parts): Request {
  const { idempotencyKey, sha256 } = rest;
  const { source, json, secrets } = project;
  const { profile, command, platform, artifacts } = choice;
  const keptMs = keepMs(flags.afterFailure);
  const named = flags.project ?? json.project;
  const request: Request = {
    ...{ source: { sha256 }, platform, artifacts, idempotencyKey },
    ...(profile !== null && { profile }),
    ...(profile !== null && source.appRoot !== '.' && { projectRoot: source.appRoot }),
    ...(command !== null && { command }),
    ...(named !== undefined && { project: named }),
    env: pairs(flags.env, '--env'),
    secretEnv: secretVariables(flags.secretEnv, process.env),
    secretFiles: secretFilesOf(project),
    timeouts: timeouts(flags.timeout),
    labels: pairs(flags.label, '--label'),
    ...(flags.image !== undefined && { image: flags.image }),
    ...(flags.pool !== undefined && { pool: flags.pool }),
    ...(flags.priority !== undefined && { priority: wholeNumber(flags.priority, '--priority') }),
    ...(flags.maxAttempts !== undefined && { maxAttempts: wholeNumber(flags.maxAttempts, '--max-attempts') }),
    ...(flags.group !== undefined && { group: flags.group }),
    ...(flags.cancelSuperseded && { cancelSuperseded: true }),
    ...(keptMs !== null && { keepVm: { onFailureMs: keptMs } }),
    ...(flags.untrusted && { trusted: false }),
    ...(origin !== null && { origin }),
    ...(fingerprint !== null && { fingerprint }),
    ...(submit !== null && { submit: submit.options, ...(submit.app && { app: submit.app }) }),
  };
  check(request, secrets.sent);
  return request;
}

function check(request: Request, files: readonly SecretFile[]): void {
  const parsed = BuildRequest.safeParse(request);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const { path } = issue;
    const message = wordsOf(issue.code === 'invalid_key' ? issue.issues[0]! : issue);
    const [field, ...deeper] = path;
    const which = field === 'timeouts' || field === 'labels' || field === 'env' || field === 'secretEnv';
    const name = which && deeper.length > 0 ? ` ${deeper.join('.').replace(/TimeoutMs$/, '')}` : '';
    throw new CommandError(`${FLAGS[String(field)] ?? path.join('.')}${name}: ${message}.`);
  }
  const sizeBytes = Buffer.byteLength(JSON.stringify(request));
  if (sizeBytes <= BUILD_REQUEST_MAX_BYTES) return;
  const [largest] = files.toSorted((a, b) => b.sizeBytes - a.sizeBytes);
  const because = largest ? ` The largest secret file is ${largest.path}, with ${size(largest.sizeBytes)}.` : '';
  throw new CommandError(
    `The request for the build has ${sizeBytes} bytes, secret files and variables included, but at most ${BUILD_REQUEST_MAX_BYTES} are taken.${because}`,
  );
}

/** By the field of the request. */
const FLAGS: Record<string, string> = {
  project: '--project',
  profile: '--profile',
  command: '--command',
  artifacts: '--artifact',
  env: '--env',
  secretEnv: '--secret-env',
  secretFiles: '--secret-file',
  image: '--image',
  pool: '--pool',
  priority: '--priority',
  maxAttempts: '--max-attempts',
  labels: '--label',
  timeouts: '--timeout',
  group: '--group',
  fingerprint: '--fingerprint',
  cancelSuperseded: '--cancel-superseded',
  keepVm: '--after-failure keep',
  idempotencyKey: '--idempotency-key',
  projectRoot: 'the folder of the app',
};

/**
 * The secret files that are sent, by their path in the source, in base64. A file that changed since the
 * search is refused.
 */
export const secretFilesOf = ({ secrets }: Pick<Project, 'secrets'>): Record<string, string> =>
  Object.fromEntries(secrets.sent.map((file) => [file.path, base64Of(file)]));

function base64Of({ path, file, sizeBytes }: SecretFile): string {
  const bytes = bytesOf(file, SECRET_FILE_MAX_BYTES + 1);
  if (bytes?.length === sizeBytes) return bytes.toString('base64');
  throw new CommandError(`The secret file ${path} changed while it was read. Try again once nobody writes to it.`);
}
