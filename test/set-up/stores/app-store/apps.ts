/** Keeps an app of the stand-in of App Store Connect: its builds, uploads, versions and groups. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppleAppOptions, AppleAppState, AppleBuild } from './control.ts';
import { PROCESSING_ERRORS, Refused } from './refusals.ts';

const PART_BYTES = 64 * 1024;
/** An address of Apple's storage has more than a thousand characters. */
const TOKEN = 'IQoJb3JpZ2luX2VjE'.repeat(80);

interface Build {
  id: string;
  version: string;
  buildNumber: string;
  processingState: string;
  upload: string | null;
  groups: Set<string>;
  localizations: Map<string, { locale: string; whatsNew: string }>;
}

/** A file that is reserved. Its bytes lie on disk, because a test may send a gigabyte. */
export class UploadFile {
  readonly id = randomUUID();
  readonly upload: Upload;
  readonly size: number;
  readonly #path: string;
  readonly #parts: { offset: number; length: number; arrived: boolean }[] = [];
  #signature = randomUUID();
  #handle: Promise<FileHandle> | null = null;
  state = 'AWAITING_UPLOAD';
  sha256: string | null = null;

  constructor(upload: Upload, size: number, partBytes: number, folder: string) {
    this.upload = upload;
    this.size = size;
    this.#path = join(folder, this.id);
    for (let offset = 0; offset < size; offset += partBytes)
      this.#parts.push({ offset, length: Math.min(partBytes, size - offset), arrived: false });
  }

  operations(origin: string) {
    return this.#parts.map(({ offset, length }, index) => ({
      method: 'PUT',
      url: `${origin}/parts/${this.id}/${index + 1}?X-Amz-Security-Token=${TOKEN}&X-Amz-Signature=${this.#signature}`,
      offset,
      length,
      requestHeaders: [
        { name: 'Content-Type', value: 'application/octet-stream' },
        { name: 'X-Part', value: String(index + 1) },
      ],
      partNumber: index + 1,
    }));
  }

  expire(): void {
    this.#signature = randomUUID();
  }

  isSigned(signature: string | null): boolean {
    return signature === this.#signature;
  }

  part(number: number) {
    return this.#parts[number - 1];
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    this.#handle ??= open(this.#path, 'w+');
    await (await this.#handle).write(bytes, 0, bytes.length, at);
  }

  get isWhole(): boolean {
    return this.#parts.every(({ arrived }) => arrived);
  }

  /** Returns the SHA-256 of all bytes, and deletes the bytes. */
  async seal(): Promise<string> {
    await (await this.#handle)?.close();
    const hash = createHash('sha256');
    for await (const bytes of createReadStream(this.#path)) hash.update(bytes);
    await rm(this.#path);
    this.sha256 = hash.digest('hex');
    return this.sha256;
  }

  async forget(): Promise<void> {
    await (await this.#handle)?.close().catch(() => {});
  }
}

export class Upload {
  readonly id = randomUUID();
  readonly app: AppleApp;
  readonly version: string;
  readonly buildNumber: string;
  state = 'AWAITING_UPLOAD';
  errors: { code: string; description: string }[] = [];
  pollsLeft = 0;
  file: UploadFile | null = null;

  constructor(app: AppleApp, version: string, buildNumber: string) {
    this.app = app;
    this.version = version;
    this.buildNumber = buildNumber;
  }

  get isTaken(): boolean {
    return this.state === 'PROCESSING' || this.state === 'COMPLETE';
  }
}

export class AppleApp {
  readonly id: string;
  readonly keyId: string;
  readonly builds = new Map<string, Build>();
  readonly uploads = new Map<string, Upload>();
  readonly groups = new Map<string, { name: string; allBuilds: boolean }>();
  readonly asked: Record<string, number> = {};
  options: AppleAppOptions;
  readonly #violations: string[];

  constructor(id: string, keyId: string, options: AppleAppOptions, violations: string[]) {
    this.id = id;
    this.keyId = keyId;
    this.options = options;
    this.#violations = violations;
    for (const build of options.builds ?? []) this.addBuild(build, null);
    for (const { name, allBuilds = false } of options.groups ?? []) this.groups.set(randomUUID(), { name, allBuilds });
  }

  addBuild({ version, buildNumber, processingState = 'VALID' }: AppleBuild, upload: string | null): Build {
    const build = { id: randomUUID(), version, buildNumber, processingState, upload };
    const whole = { ...build, groups: new Set<string>(), localizations: new Map() };
    this.builds.set(build.id, whole);
    return whole;
  }

  /** @throws {Refused} */
  addUpload(version: string, buildNumber: string): Upload {
    if (this.#has(version, buildNumber)) throw new Refused('duplicate');
    const upload = new Upload(this, version, buildNumber);
    this.uploads.set(upload.id, upload);
    return upload;
  }

  #has(version: string, buildNumber: string): boolean {
    const same = (other: { version: string; buildNumber: string }) =>
      other.version === version && other.buildNumber === buildNumber;
    return (
      [...this.builds.values()].some(same) ||
      [...this.uploads.values()].some((upload) => upload.isTaken && same(upload))
    );
  }

  reserve(upload: Upload, size: number, folder: string): UploadFile {
    if (upload.file) throw new Refused('state');
    upload.file = new UploadFile(upload, size, this.options.partBytes ?? PART_BYTES, folder);
    return upload.file;
  }

  /** Commits a file, because the client says that all of its bytes are there. */
  async commit(file: UploadFile, sha256: string | null): Promise<void> {
    if (file.state !== 'AWAITING_UPLOAD') throw new Refused('state');
    if (!file.isWhole) {
      this.#violations.push('a file was committed before all of its bytes had arrived');
      throw new Refused('state');
    }
    if (this.#has(file.upload.version, file.upload.buildNumber))
      this.#violations.push(`build ${file.upload.buildNumber} of version ${file.upload.version} was uploaded twice`);
    file.state = 'UPLOAD_COMPLETE';
    file.upload.state = 'PROCESSING';
    file.upload.pollsLeft = this.options.polls ?? 1;
    const real = await file.seal();
    if (sha256 === null || sha256 === real) return;
    file.state = 'FAILED';
    file.upload.state = 'AWAITING_UPLOAD';
  }

  /** Counts one look at an upload. After some looks the upload is processed. */
  poll(upload: Upload): void {
    if (upload.state !== 'PROCESSING' || upload.pollsLeft-- > 0) return;
    const { errors = [], processingState = 'VALID' } = this.options;
    upload.errors = errors.map((code) => ({ code, description: PROCESSING_ERRORS[code] ?? code }));
    upload.state = errors.length > 0 ? 'FAILED' : 'COMPLETE';
    if (errors.length === 0) this.addBuild({ ...upload, processingState }, upload.id);
  }

  state(): AppleAppState {
    return {
      builds: [...this.builds.values()].map(({ id, version, buildNumber, upload, groups, localizations }) => ({
        id,
        version,
        buildNumber,
        upload,
        groups: [...groups].map((group) => this.groups.get(group)!.name),
        whatToTest: Object.fromEntries([...localizations.values()].map(({ locale, whatsNew }) => [locale, whatsNew])),
      })),
      uploads: [...this.uploads.values()].map(({ id, version, buildNumber, state, file }) => ({
        id,
        version,
        buildNumber,
        state,
        sha256: file?.sha256 ?? null,
      })),
      asked: this.asked,
    };
  }
}
