/**
 * Says in words what is wrong with a config file, and what to do about it. Pure.
 *
 * Invariant: each finding names one key, or the file, and contains advice that a person can follow.
 */
import type { z } from 'zod';
import { wordsOf } from '#contract';
import { shown } from '../client/project/formats/text.ts';

export interface ConfigFinding {
  /** The key in the file, or `file` for a problem of the whole file. */
  key: string;
  problem: string;
  fix: string;
}

export class ConfigError extends Error {
  override name = 'ConfigError';
  findings: ConfigFinding[];
  constructor(path: string, findings: ConfigFinding[]) {
    super([`${path}:`, ...findings.map(({ key, problem, fix }) => `  ${key}: ${problem}. ${fix}`)].join('\n'));
    this.findings = findings;
  }
}

/** For a Mac that has no working key. */
export const ENROL_ANEW = 'Ask an admin for a code, and run `expo-worker init --force --code CODE`';
/** The key works, and belongs to a person or to CI. */
export const NOT_OF_A_WORKER = `\`apiKey\` in the config is not the key of a worker. ${ENROL_ANEW}`;

export const openToOthers = (path: string, mode: number): ConfigFinding => ({
  key: 'file mode',
  problem: `other accounts can read it (mode ${modeOf(mode)}), and it contains a key`,
  fix: `Run \`chmod 600 ${path}\``,
});

export const cannotBeRead = (code: string | undefined): ConfigFinding =>
  code === 'ENOENT'
    ? { key: 'file', problem: 'it does not exist', fix: 'Run `expo-worker init`' }
    : { key: 'file', problem: `it cannot be read (${code})`, fix: 'Give this account the right to read it' };

export const isNotJson = (error: Error, text: string): ConfigFinding => ({
  key: 'file',
  problem: `not valid JSON${positionOf(error, text)}`,
  fix: 'Correct the file there, or run `expo-worker init --force`',
});

/** `value` is the whole file, `known` the names of all settings. */
export function findingsOf(issue: z.core.$ZodIssue, value: unknown, known: string[]): ConfigFinding[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, known));
  const key = issue.path.map(String).join('.') || 'file';
  const absent = issue.path.length === 1 && !Object.hasOwn(Object(value), issue.path[0]!);
  if (absent) return [{ key, problem: 'missing', fix: `Add "${key}", or run \`expo-worker init\`` }];
  const given = at(value, issue.path);
  if (given === undefined) return [{ key, problem: 'missing', fix: 'Add it' }];
  const words = wordsOf(issue);
  // The message of the schema already says how to fix it.
  if (words === issue.message) return [{ key, problem: 'not usable', fix: sentence(words) }];
  return [{ key, problem: `${words}, but is ${shown(given)}`, fix: 'Correct its value' }];
}

function unknownKey(key: string, known: string[]): ConfigFinding {
  const close = nearest(key, known);
  const fix = close ? `Did you mean ${close}?` : `Remove it; the settings are ${known.join(', ')}`;
  return { key, problem: 'no such setting', fix };
}

const modeOf = (mode: number) => (mode & 0o777).toString(8).padStart(4, '0');

/** Node's parser names a position only for some errors. The other errors are at the end of the text. */
function positionOf(error: Error, text: string): string {
  const at = /position (\d+)/.exec(error.message)?.[1];
  const offset = at === undefined ? text.length : Number(at);
  const before = text.slice(0, offset).split('\n');
  return ` at line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

const at = (value: unknown, path: PropertyKey[]) => path.reduce<unknown>((inner, key) => Object(inner)[key], value);
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** Null if no known key is similar: within two edits, or within a third of the key's length in edits. */
function nearest(key: string, known: string[]): string | null {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return best && best.distance <= Math.max(2, Math.floor(key.length / 3)) ? best.candidate : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

/** A config has one image in the short form, or a list of images. */
export function clashesOf(settings: unknown): ConfigFinding[] {
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) return [];
  const { vmName, images, platforms }: { vmName?: unknown; images?: unknown; platforms?: unknown } = settings;
  if (images === undefined)
    return vmName === undefined
      ? [
          {
            key: 'vmName',
            problem: 'missing',
            fix: 'Add "vmName", or "images" if this Mac has several, or run `expo-worker init`',
          },
        ]
      : [];
  return Object.entries({ vmName, platforms }).flatMap(([key, value]) =>
    value === undefined
      ? []
      : [{ key, problem: 'it stands beside images', fix: `Remove it: each image has its own ${key}` }],
  );
}

export const repeatedIn = <T extends string>(images: readonly Record<T, string>[], key: T): ConfigFinding[] =>
  [...Map.groupBy(images, (image) => image[key].toLowerCase()).values()].flatMap((same) =>
    same.length > 1
      ? [{ key: `images.${key}`, problem: `${same[0]![key]} is there twice`, fix: 'Give each image its own' }]
      : [],
  );

/** The suffixes of the VMs that the agent makes of an image. They follow the `vmName` of that image. */
const MADE_OF_IMAGE = /^-(next|publishing|published|base-snapshot|base-[0-9a-f]{12})$/i;

/** Finds images whose VM has a name that the agent gives to a VM that it makes of another image. */
export const madeByOthers = (images: readonly { vmName: string }[]): ConfigFinding[] =>
  images.flatMap(({ vmName }) => {
    const other = images.find(
      (one) =>
        vmName.toLowerCase().startsWith(one.vmName.toLowerCase()) &&
        MADE_OF_IMAGE.test(vmName.slice(one.vmName.length)),
    );
    if (!other) return [];
    const problem = `${vmName} is the name of a VM that is made of the image in ${other.vmName}`;
    return [{ key: 'images.vmName', problem, fix: 'Give it another name' }];
  });
