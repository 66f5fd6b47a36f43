/**
 * Watches App Store Connect process an upload. Then sets what to test, and gives the build to groups of
 * testers.
 *
 * Invariant: once the store has processed the build, a refusal of later work is a warning and no failure.
 */
import { z } from 'zod';
import type { AppStoreSubmit } from '#contract';
import { PAUSE_MAX_MS, type StepContext, type StepResult } from '../step.ts';
import {
  type Build,
  BuildAnswer,
  type BuildUpload,
  BuildUploadAnswer,
  errorsOfState,
  GroupsAnswer,
  IncludedFile,
  LocalizationsAnswer,
} from './answers.ts';
import { isOurs, next, numberedOf, type Plain, textOf } from './data.ts';
import { buildOf } from './looks.ts';
import { AppStoreRefused, failed, meaningOf, reasonOf, wordsOf } from './refusals.ts';
import { change, read, readAll } from './requests.ts';

type Context = StepContext<AppStoreSubmit>;

const FIRST_PAUSE_MS = 15_000;
const GROWTH = 1.5;

/** Most uploads take a few minutes, some take hours. */
const pauseMs = (polls: number): number => Math.min(FIRST_PAUSE_MS * GROWTH ** polls, PAUSE_MAX_MS);

const stillWorking = (plain: Plain): StepResult => {
  const polls = Number(plain.polls ?? 0);
  return { kind: 'wait', afterMs: pauseMs(polls), data: { plain: { ...plain, polls: polls + 1 }, secret: {} } };
};

export async function watch(context: Context, given: Plain): Promise<StepResult> {
  const answer = await uploadAnswer(context, textOf(given, 'uploadId'));
  if (answer === null) return withoutUpload(context, given);
  const { lost: _, ...plain } = given;
  const { state, warnings } = answer.data.attributes.state;
  const said = errorsOfState(warnings).map((warning) => wordsOf([warning]));
  if (state === 'COMPLETE') return built(context, plain, answer.data, said);
  if (state === 'FAILED') return refused(context, plain, answer.data);
  const file = answer.included?.map((item) => IncludedFile.safeParse(item).data).find((item) => item !== undefined);
  const delivery = file?.attributes.assetDeliveryState;
  if (delivery?.state !== 'FAILED') return stillWorking(plain);
  const errors = errorsOfState(delivery.errors);
  return failed(meaningOf(errors) ?? 'upload_damaged', wordsOf(errors));
}

/** Null: the store does not have the upload any more. */
async function uploadAnswer(context: Context, uploadId: string) {
  const query = {
    'fields[buildUploads]': 'cfBundleVersion,state,build,assetFile',
    'fields[builds]': 'version,processingState',
    'fields[buildUploadFiles]': 'assetDeliveryState,fileSize',
    include: 'build,assetFile',
  };
  try {
    return await read(context, `/v1/buildUploads/${uploadId}`, query, BuildUploadAnswer);
  } catch (error) {
    if (error instanceof AppStoreRefused && error.status === 404) return null;
    throw error;
  }
}

async function built(context: Context, plain: Plain, upload: BuildUpload, warnings: string[]): Promise<StepResult> {
  const id = upload.relationships?.build?.data?.id;
  const build = id === undefined ? await buildOf(context, numberedOf(context, plain)) : await shownBuild(context, id);
  if (build === null || build.attributes.processingState === 'PROCESSING') return stillWorking(plain);
  return verdictOf(build, plain, warnings);
}

function verdictOf(build: Build, plain: Plain, warnings: string[]): StepResult {
  const state = build.attributes.processingState;
  if (state === 'FAILED' || state === 'INVALID')
    return failed('build_refused', `App Store Connect has processed the build and says that it is ${state}.`);
  return next('finish', { ...plain, buildId: build.id }, { warnings });
}

async function readBuild(context: Context, id: string): Promise<Build> {
  const query = { 'fields[builds]': 'version,processingState,usesNonExemptEncryption' };
  return (await read(context, `/v1/builds/${id}`, query, BuildAnswer)).data;
}

/** Null: the build does not show yet. Its upload names it some time before. */
async function shownBuild(context: Context, id: string): Promise<Build | null> {
  try {
    return await readBuild(context, id);
  } catch (error) {
    if (error instanceof AppStoreRefused && error.status === 404) return null;
    throw error;
  }
}

/** "Already used" is no failure if we have sent the build that uses the number. */
async function refused(context: Context, plain: Plain, upload: BuildUpload): Promise<StepResult> {
  const errors = errorsOfState(upload.attributes.state.errors);
  const reason = meaningOf(errors) ?? 'build_refused';
  if (reason !== 'build_number_used') return failed(reason, wordsOf(errors));
  const build = await buildOf(context, numberedOf(context, plain));
  if (build === null || !isOurs(plain, uploadIdOf(build))) return failed(reason, wordsOf(errors));
  return build.attributes.processingState === 'PROCESSING' ? stillWorking(plain) : verdictOf(build, plain, []);
}

const uploadIdOf = (build: Build): string | null => build.relationships?.buildUpload?.data?.id ?? null;

/** How often in a row neither the upload nor a build is there, before we believe it: ten minutes or more. */
const LOST_MAX = 8;

/** Somebody has deleted the upload, or Apple clears away those of finished builds. */
async function withoutUpload(context: Context, plain: Plain): Promise<StepResult> {
  const numbered = numberedOf(context, plain);
  const build = await buildOf(context, numbered);
  if (build && !isOurs(plain, uploadIdOf(build))) {
    const { version, buildNumber } = numbered;
    const has = `App Store Connect has build ${buildNumber} of version ${version} from another upload.`;
    return failed('build_number_used', has);
  }
  if (build)
    return build.attributes.processingState === 'PROCESSING' ? stillWorking(plain) : verdictOf(build, plain, []);
  const lost = Number(plain.lost ?? 0) + 1;
  if (lost > LOST_MAX) return failed('build_refused', 'The upload was deleted in App Store Connect.');
  return stillWorking({ ...plain, lost });
}

const COMPLIANCE =
  'TestFlight waits for an answer about encryption. If the app uses none but exempt encryption, set ' +
  '`"ios": { "config": { "usesNonExemptEncryption": false } }` in the app\'s config, or ' +
  'ITSAppUsesNonExemptEncryption in its Info.plist. For this build, answer it in App Store Connect.';

/** Says whether export compliance is missing, and sets what to test. */
export async function finish(context: Context, plain: Plain): Promise<StepResult> {
  const { whatToTest } = context.options;
  const buildId = textOf(plain, 'buildId');
  const warnings = await unlessRefused(
    'It is not known whether TestFlight waits for an answer about encryption',
    async () => {
      const build = await readBuild(context, buildId);
      const known = build.attributes.usesNonExemptEncryption ?? context.artifact.app.usesNonExemptEncryption;
      return known === null ? [COMPLIANCE] : [];
    },
  );
  if (whatToTest) warnings.push(...(await setWhatToTest(context, buildId, whatToTest)));
  return next('groups', plain, { warnings });
}

function setWhatToTest(context: Context, buildId: string, whatsNew: string): Promise<string[]> {
  return unlessRefused('What to test was not set', async () => {
    const { locale } = context.options;
    const path = `/v1/builds/${buildId}/betaBuildLocalizations`;
    const { data } = await read(context, path, { limit: 50 }, LocalizationsAnswer);
    const before = data.find(({ attributes }) => attributes.locale === locale);
    const type = 'betaBuildLocalizations';
    if (!before) {
      const relationships = { build: { data: { type: 'builds', id: buildId } } };
      const made = { type, attributes: { locale, whatsNew }, relationships };
      await change(context, 'POST', '/v1/betaBuildLocalizations', made, z.unknown());
    } else if (before.attributes.whatsNew !== whatsNew) {
      const changed = { type, id: before.id, attributes: { whatsNew } };
      await change(context, 'PATCH', `/v1/betaBuildLocalizations/${before.id}`, changed, z.unknown());
    }
    return [];
  });
}

/** Pages of groups that are looked through. */
const GROUP_PAGES_MAX = 3;
/** Groups that get the build in one invocation. */
const GROUPS_AT_ONCE = 8;

/** Gives the build to the groups that were named, a few at a time. Then the submission is done. */
export async function groups(context: Context, plain: Plain): Promise<StepResult> {
  const { version, buildNumber, appleId } = numberedOf(context, plain);
  const says = `Build ${buildNumber} of version ${version} is in TestFlight.`;
  const given = Number(plain.given ?? 0);
  const names = [...new Set(context.options.groups ?? [])].slice(given);
  if (names.length === 0) return { kind: 'done', says };
  const some = names.slice(0, GROUPS_AT_ONCE);
  const give = () => giveTo(context, appleId, textOf(plain, 'buildId'), some);
  const warnings = await unlessRefused('The build was given to no group', give);
  if (names.length === some.length) return { kind: 'done', says, warnings };
  return next('groups', { ...plain, given: given + some.length }, { warnings });
}

async function giveTo(context: Context, appleId: string, buildId: string, names: string[]): Promise<string[]> {
  const query = { 'filter[app]': appleId, 'fields[betaGroups]': 'name,hasAccessToAllBuilds' };
  const all = await readAll(context, '/v1/betaGroups', query, GroupsAnswer, GROUP_PAGES_MAX);
  const warnings: string[] = [];
  for (const name of names) {
    const group = all.find(({ attributes }) => attributes.name === name);
    const give = () => add(context, buildId, group!.id);
    if (!group) warnings.push(`TestFlight has no group "${name}" for this app.`);
    // Such a group gets every build by itself, and Apple refuses to add one.
    else if (group.attributes.hasAccessToAllBuilds !== true)
      warnings.push(...(await unlessRefused(`The build was not given to the group "${name}"`, give)));
  }
  return warnings;
}

async function add(context: Context, buildId: string, groupId: string): Promise<string[]> {
  const path = `/v1/builds/${buildId}/relationships/betaGroups`;
  await change(context, 'POST', path, [{ type: 'betaGroups', id: groupId }], z.unknown());
  return [];
}

/** Turns a refusal of later work on the build into a warning. */
async function unlessRefused(what: string, act: () => Promise<string[]>): Promise<string[]> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof AppStoreRefused)) throw error;
    const role = reasonOf(error) === 'role_missing' ? ' The key needs the role App Manager for it.' : '';
    return [`${what}.${role} App Store Connect says: ${error.message}`];
  }
}
