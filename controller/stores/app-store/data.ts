/** Defines the data that a step of a submission to App Store Connect leaves for the next one. */
import type { AppStoreSubmit } from '#contract';
import type { StepContext, StepData, StepResult } from '../step.ts';
import type { Numbered } from './looks.ts';

/**
 * - `appleId`: the numeric id of the app
 * - `others`: ids of unfinished uploads of this number that were there before, with blanks between them
 * - `uploadId`, `fileId`, `buildId`: our upload, file and build in the store
 * - `mine`: ids of all uploads that this submission has made, with blanks between them
 * - `sent`: the number of bytes that have arrived
 * - `committing`: from here on the store may have the whole file, so nothing is deleted
 * - `taken`: how often in a row the store has called the number taken, though it shows no build that has it
 * - `renewals`: how often in a row the store was asked for new addresses
 * - `lost`: how often in a row our file was not there, or neither our upload nor a build
 * - `polls`: how often the store has said that it is still working
 * - `given`: how many of the named groups have been given the build
 * - `refused`: the key was refused once
 */
export type Plain = StepData['plain'];

/** @throws if the step before has not left it, which is our own fault */
export function textOf(plain: Plain, name: string): string {
  const value = plain[name];
  if (typeof value !== 'string') throw new Error(`the submission has no ${name}`);
  return value;
}

export const withUpload = (plain: Plain, uploadId: string): Plain => ({
  ...plain,
  uploadId,
  mine: [...new Set([...idsOf(plain.mine), uploadId])].join(' '),
});

export const idsOf = (value: Plain[string] | undefined): string[] =>
  String(value ?? '')
    .split(' ')
    .filter(Boolean);

/**
 * Whether we have sent a build that the store has: its upload is one of ours. If Apple does not say which
 * upload it was, we must at least have come to the commit.
 */
export const isOurs = (plain: Plain, upload: string | null): boolean =>
  upload === null ? plain.committing === true : idsOf(plain.mine).includes(upload);

export const numberedOf = ({ artifact }: StepContext<AppStoreSubmit>, plain: Plain): Numbered => ({
  appleId: textOf(plain, 'appleId'),
  version: artifact.app.version,
  buildNumber: artifact.app.buildNumber,
});

interface More {
  secret?: StepData['secret'];
  sentBytes?: number;
  warnings?: string[];
  says?: string;
}

export const next = (step: string, plain: Plain, { secret = {}, ...more }: More = {}): StepResult => ({
  kind: 'next',
  step,
  data: { plain, secret },
  ...more,
});
