/**
 * Reads the files that sign an app: those that `credentials.json` names, or secret files alone.
 *
 * Secret files of the build override those of the source, so `credentials.json` and the files that it names
 * may be secret files, too.
 *
 * Invariant: a path in `credentials.json` reads no file outside the source, also not through a link. The file
 * comes from the repository, so its author may be a stranger.
 */
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import { type ProjectFiles, pathIn, withFilesOver } from '../project/project-files.ts';
import { type Credentials, iosCredentials, type SigningTarget, TARGETS_MAX, type TargetFiles } from './credentials.ts';
import { credentialsInSecretFiles } from './secret-files.ts';

export interface SigningInputs {
  secretFiles: ReadonlyMap<string, Buffer>;
  /** All variables of the build, those of `secretEnv` included. */
  env: Readonly<Record<string, string | undefined>>;
  /** The first is the app itself. */
  targets: readonly SigningTarget[];
}

type Fields = Record<string, unknown>;

/** Null if there is neither credentials.json nor a secret file that signs. */
export async function readCredentials(
  files: ProjectFiles,
  appRoot: string,
  platform: 'ios' | 'android',
  { secretFiles, env, targets }: SigningInputs,
): Promise<Found<Credentials | null>> {
  const all = withFilesOver(files, secretFiles);
  const path = pathIn(appRoot, 'credentials.json');
  const json = path === null ? null : await all.read(path);
  if (path === null || json === null)
    return platform === 'ios' ? credentialsInSecretFiles(secretFiles, env.P12_PASSWORD, targets) : found(null);
  const read = new CredentialsJson(all, appRoot, path);
  try {
    const whole = read.parse(json);
    return platform === 'ios' ? await read.ios(whole, targets) : await read.android(whole);
  } catch (error) {
    if (error instanceof Wrong) return problem(error.message);
    throw error;
  }
}

/**
 * Whether the build has its own signing files. Then a profile with remote credentials does not need those of
 * Expo's server. A damaged credentials.json counts too, because its author wanted to use it.
 */
export async function hasCredentials(
  files: ProjectFiles,
  appRoot: string,
  platform: 'ios' | 'android',
  secretFiles: ReadonlyMap<string, Buffer>,
): Promise<boolean> {
  const path = pathIn(appRoot, 'credentials.json');
  const json = path === null ? null : await withFilesOver(files, secretFiles).read(path);
  if (json === null) return platform === 'ios' && [...secretFiles.keys()].some((name) => /\.p12$/i.test(name));
  try {
    return Object.hasOwn(JSON.parse(json.toString('utf8')), platform);
  } catch {
    return true;
  }
}

class Wrong extends Error {
  override name = 'Wrong';
}

/** One credentials.json. Its methods throw a Wrong that has the sentence for the submitter. */
class CredentialsJson {
  readonly #files: ProjectFiles;
  readonly #appRoot: string;
  readonly #name: string;

  constructor(files: ProjectFiles, appRoot: string, path: string) {
    this.#files = files;
    this.#appRoot = appRoot;
    this.#name = printable(path);
  }

  parse(json: Buffer): Fields {
    let value: unknown;
    try {
      value = JSON.parse(json.toString('utf8').replace(/^\uFEFF/, ''));
    } catch {
      throw new Wrong(`\`${this.#name}\` is not valid JSON: correct it.`);
    }
    return this.#fields(value, '');
  }

  async ios(whole: Fields, targets: readonly SigningTarget[]): Promise<Found<Credentials>> {
    if (whole.ios === undefined)
      throw new Wrong(`\`${this.#name}\` has no \`ios\`: add the certificate and the profile of this app there.`);
    const ios = this.#fields(whole.ios, 'ios');
    // eas-cli distinguishes the two forms in the same way.
    const entries: [string, unknown, string][] =
      typeof ios.provisioningProfilePath === 'string'
        ? [[targets[0]?.target ?? 'App', ios, 'ios']]
        : Object.entries(ios).map(([target, entry]) => [target, entry, `ios.${target}`]);
    if (entries.length > TARGETS_MAX)
      throw new Wrong(
        `\`${this.#name}\` has ${entries.length} targets under \`ios\`, but at most ${TARGETS_MAX} are possible: remove those that the app does not have.`,
      );
    const signed: TargetFiles[] = [];
    for (const [target, entry, field] of entries) signed.push(await this.#target(target, entry, field));
    return iosCredentials(signed);
  }

  async #target(target: string, value: unknown, field: string): Promise<TargetFiles> {
    const entry = this.#fields(value, field);
    const certificateField = `${field}.distributionCertificate`;
    const certificate = this.#fields(entry.distributionCertificate, certificateField);
    const password = this.#text(certificate.password, `${certificateField}.password`);
    const passwordFix = `correct \`${printable(certificateField)}.password\` in \`${this.#name}\``;
    return {
      target,
      profile: await this.#file(entry.provisioningProfilePath, `${field}.provisioningProfilePath`),
      certificate: { ...(await this.#file(certificate.path, `${certificateField}.path`)), password, passwordFix },
    };
  }

  async android(whole: Fields): Promise<Found<Credentials>> {
    if (whole.android === undefined)
      throw new Wrong(`\`${this.#name}\` has no \`android\`: add the keystore of this app there.`);
    const field = 'android.keystore';
    const keystore = this.#fields(this.#fields(whole.android, 'android').keystore, field);
    const file = await this.#file(keystore.keystorePath, `${field}.keystorePath`);
    const keystorePassword = this.#text(keystore.keystorePassword, `${field}.keystorePassword`);
    const keyAlias = this.#text(keystore.keyAlias, `${field}.keyAlias`);
    const keyPassword =
      keystore.keyPassword === undefined ? undefined : this.#text(keystore.keyPassword, `${field}.keyPassword`);
    const dataBase64 = file.content.toString('base64');
    const passwords = [keystorePassword, ...(keyPassword === undefined ? [] : [keyPassword])];
    return found({
      platform: 'android',
      buildCredentials: {
        keystore: { dataBase64, keystorePassword, keyAlias, ...(keyPassword !== undefined && { keyPassword }) },
      },
      keystorePath: file.path,
      secrets: [...new Set(passwords)].filter((password) => password !== ''),
    });
  }

  #fields(value: unknown, field: string): Fields {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
    throw new Wrong(
      `${this.#said(field)} ${value === undefined ? 'is missing' : 'is not an object'}: see docs/expo.md.`,
    );
  }

  #text(value: unknown, field: string): string {
    if (typeof value === 'string') return value;
    throw new Wrong(`${this.#said(field)} ${value === undefined ? 'is missing' : 'is not a text'}: see docs/expo.md.`);
  }

  async #file(value: unknown, field: string): Promise<{ path: string; content: Buffer }> {
    const given = this.#text(value, field);
    const shown = `${this.#said(field)} names \`${printable(given).slice(0, 200)}\``;
    const path = pathIn(this.#appRoot, given);
    if (path === null)
      throw new Wrong(
        `${shown}, which leads out of the source: give a path inside the source, relative to the folder of the app.`,
      );
    if (!this.#files.paths.has(path))
      throw new Wrong(
        `${shown}, but neither the source nor the secret files of the build have this file (a link out of the source does not count): commit it, or submit it as the secret file \`${printable(path).slice(0, 200)}\`.`,
      );
    const content = await this.#files.read(path);
    if (content === null) throw new Wrong(`${shown}, which is too large to be that: name the right file.`);
    return { path, content };
  }

  #said(field: string): string {
    return field === '' ? `\`${this.#name}\`` : `\`${printable(field).slice(0, 200)}\` in \`${this.#name}\``;
  }
}
