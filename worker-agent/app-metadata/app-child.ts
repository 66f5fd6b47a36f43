/**
 * Has one artifact read by a child process, and checks what the child says.
 *
 * A build has made the file, so the file may deceive its reader. The child has no variables, no keys
 * and no network address, and Node lets it read nothing but its own code. It gets the file as an open
 * descriptor, so neither the path nor the name reaches it.
 *
 * Invariant: the child ends within its time, by SIGKILL if need be, and its answer is bounded. Each value of
 * the answer is checked anew: cut to its length, without control and direction characters, or left out.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { z } from 'zod';
import { APP_SIGNINGS, ArtifactApp, asLine } from '#contract';
import { tartUserOf } from '../mac/run-as.ts';
import { ICON_MAX_BYTES, isPng } from './png.ts';
import type { AppKind } from './said.ts';

export const APP_READING_MS = 10_000;
const ANSWER_MAX_BYTES = 512 * 1024;
/** With the buffers that budget.ts allows and what Node itself needs, 256 MiB in all. */
const HEAP_MIB = 64;
/** The first group of each account on macOS. */
const STAFF = 20;

export type AppReading =
  | { ok: true; app: ArtifactApp; icon: Buffer | null }
  /** `problem` is null if the file is no app of a system that we know. */
  | { ok: false; problem: string | null };

const text = z.string().nullable();
const Answer = z.union([
  z.object({ problem: z.string() }),
  z.object({
    said: z
      .object({
        platform: z.enum(['ios', 'android']),
        ...{ id: text, name: text, version: text, buildNumber: text, minimumSystem: text, profileExpiresAt: text },
        signing: z.enum(APP_SIGNINGS).nullable(),
        devices: z.number().nullable(),
        ...{ usesNonExemptEncryption: z.boolean().nullable(), debuggable: z.boolean().nullable() },
        icon: z.base64().nullable(),
      })
      .nullable(),
  }),
]);
type Said = NonNullable<Extract<z.infer<typeof Answer>, { said: unknown }>['said']>;

/** Rejects only if the file cannot be opened, or when aborted. */
export async function readAppInChild(
  kind: AppKind,
  path: string,
  signal: AbortSignal,
  limitMs = APP_READING_MS,
): Promise<AppReading> {
  const file = await open(path, 'r');
  try {
    const child = spawn(process.execPath, [...childFlags(), MAIN, kind], {
      ...{ stdio: [file.fd, 'pipe', 'ignore'], cwd: '/', env: {}, ...accountOf() },
      ...{ timeout: limitMs, killSignal: 'SIGKILL', signal },
    });
    const [answer, code] = await Promise.all([answerOf(child), endOf(child)]);
    signal.throwIfAborted();
    if (code === 0 && answer !== null) return readingOf(kind, answer);
    // The child is killed only if its time is up or its answer is too long.
    const isLate = child.killed && answer !== null;
    const late = `it could not be read within ${limitMs / 1_000} s`;
    return { ok: false, problem: isLate ? late : 'the process that reads it ended before its answer' };
  } finally {
    await file.close();
  }
}

/** Null if it is too long. Then the child is killed. */
async function answerOf(child: ChildProcess): Promise<string | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of child.stdout!) {
    bytes += chunk.length;
    if (bytes > ANSWER_MAX_BYTES) {
      child.kill('SIGKILL');
      return null;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The exit code. Null if it was killed, or could not be started. */
const endOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    child.on('error', () => resolve(null));
    child.on('close', resolve);
  });

const MAIN = join(import.meta.dirname, `child-main${import.meta.filename.slice(-3)}`);

/** Where Node finds this code and its libraries: in the outermost `node_modules`, or in this repository. */
function codeFolders(): string[] {
  const root = join(import.meta.dirname, '../..');
  const [around, inside] = root.split(`${sep}node_modules${sep}`);
  return inside === undefined ? [root, join(root, '../node_modules')] : [`${around}${sep}node_modules`];
}

export const childFlags = (): string[] => [
  `--max-old-space-size=${HEAP_MIB}`,
  '--max-semi-space-size=4',
  '--disallow-code-generation-from-strings',
  '--permission',
  ...codeFolders().map((folder) => `--allow-fs-read=${folder}`),
];

/** A root agent gives the child the account that tart runs as. */
function accountOf(): { uid?: number; gid?: number } {
  const user = tartUserOf();
  return user ? { uid: user.uid, gid: STAFF } : {};
}

function readingOf(kind: AppKind, stdout: string): AppReading {
  const answer = Answer.safeParse(jsonIn(stdout));
  if (!answer.success) return { ok: false, problem: 'the process that reads it gave no answer' };
  if ('problem' in answer.data) return { ok: false, problem: asLine(answer.data.problem, 200) ?? '' };
  const { said } = answer.data;
  if (said === null) return { ok: false, problem: null };
  const icon = said.icon === null ? null : Buffer.from(said.icon, 'base64');
  return {
    ok: true,
    app: checked(kind, said),
    icon: icon && isPng(icon) && icon.length <= ICON_MAX_BYTES ? icon : null,
  };
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Checks each field by itself, so that one bad value does not cost the others. */
function checked(kind: AppKind, said: Said): ArtifactApp {
  const { shape } = ArtifactApp;
  const orNull = <T extends keyof typeof shape>(field: T, value: unknown) => {
    const parsed = shape[field].safeParse(value);
    return (parsed.success ? parsed.data : null) as ArtifactApp[T];
  };
  return {
    ...{ platform: said.platform, kind },
    id: orNull('id', said.id),
    name: said.name && asLine(said.name, 128),
    version: said.version && asLine(said.version, 64),
    buildNumber: said.buildNumber && asLine(said.buildNumber, 32),
    minimumSystem: said.minimumSystem && asLine(said.minimumSystem, 32),
    signing: said.signing,
    profileExpiresAt: orNull('profileExpiresAt', said.profileExpiresAt),
    devices: orNull('devices', said.devices),
    usesNonExemptEncryption: said.usesNonExemptEncryption,
    debuggable: said.debuggable,
    icon: null,
  };
}
