/**
 * Submits an App Bundle or an APK to Google Play: look, open, send, track, commit, all in one edit. Nothing
 * of an edit shows before its commit. So a submission whose edit is lost begins with a new one. It looks
 * first at what is there, which also tells whether a commit has happened whose answer was lost.
 *
 * Invariant: a submission is done only after Google has accepted its commit, or has shown its file on its
 * track. It fails for a used version code only if the file there is another one.
 */
import type { PlaySubmit, SubmissionReason } from '#contract';
import { type PlayMeaning, PlayRefused } from './play-refusals.ts';
import {
  PlayApp,
  type PlayFile,
  type PlayKind,
  type PlayRelease,
  type PlayUpload,
  UploadGone,
} from './play-requests.ts';
import {
  CHUNKS_AT_ONCE,
  type Step,
  type StepContext,
  type StepData,
  type StepResult,
  type StoreSteps,
  whyLate,
} from './step.ts';
import { ForeignAddress, StoreUnreachable } from './store-request.ts';

/** A multiple of 256 KiB, as Google demands. They are streamed, so their size needs no memory. */
const CHUNK_BYTES = 16 * 1024 * 1024;

const MINUTE_MS = 60_000;

/** One invocation begins no further chunk after this time, so that the last one still has its own. */
const SENDING_MS = MINUTE_MS;

/**
 * How often a submission begins with a new edit. Its edit ends when somebody else makes one with the same
 * account, such as a person's own script. If the last commit may have happened, one more edit is made to
 * look.
 */
const EDITS_MAX = 12;
const PAUSE_MIN_MS = 5_000;
const PAUSE_MAX_MS = 5 * MINUTE_MS;

/** How often one step asks again in the same edit before a new one begins. */
const TRIES_MAX = 3;
const TRY_PAUSE_MS = 5_000;

/** How often bytes may arrive damaged. */
const DAMAGED_MAX = 3;

/** The data that a submission keeps between two steps. */
interface Progress {
  /** '' if there is none. */
  edit: string;
  /** How many edits there were before this one. */
  editsBefore: number;
  /** No new edit begins before this time. */
  notBefore: number;
  /** The version code was looked for once before anything was sent, and was not there. */
  wasAbsent: boolean;
  /** A commit may have been sent. Whether it has happened is not known. */
  committing: boolean;
  /** Before any commit was sent, the version code was on the track, with a release that was not asked for. */
  wasOnTrack: boolean;
  /** Google has said once that the version code is used. */
  toldUsed: boolean;
  /** Google has said that the app takes only drafts. */
  draft: boolean;
  /** Google has said that it does not send the changes for review by itself. */
  withheld: boolean;
  /** Tries of the present step, in this edit. */
  tries: number;
  damaged: number;
  /** Bytes that Google has. */
  received: number;
}

const FRESH: Progress = {
  edit: '',
  editsBefore: 0,
  notBefore: 0,
  wasAbsent: false,
  committing: false,
  wasOnTrack: false,
  toldUsed: false,
  draft: false,
  withheld: false,
  tries: 0,
  damaged: 0,
  received: 0,
};

type Context = StepContext<PlaySubmit>;

/** `session` is the address of the upload, or ''. */
interface Known {
  context: Context;
  progress: Progress;
  session: string;
}

interface Work extends Known {
  app: PlayApp;
}

const data = (progress: Progress, session = ''): StepData => ({
  plain: { ...progress },
  secret: session === '' ? {} : { session },
});

const progressOf = ({ plain }: StepData): Progress => ({ ...FRESH, ...plain });

const next = (
  step: string,
  progress: Progress,
  more: Partial<Extract<StepResult, { kind: 'next' }>> = {},
): StepResult => ({
  kind: 'next',
  step,
  data: data(progress),
  ...more,
});

const failed = (reason: SubmissionReason, storeWords: string): StepResult => ({ kind: 'failed', reason, storeWords });

const kindOf = ({ artifact }: Context): PlayKind => (artifact.kind === 'apk' ? 'apks' : 'bundles');

const versionCodeOf = ({ artifact }: Context): number => Number(artifact.app.buildNumber);

/** Looks, in a new edit, whether Google has the file and its release. */
async function look({ context, progress, app }: Work): Promise<StepResult> {
  const { artifact, options, uploadBeganAt } = context;
  const kind = kindOf(context);
  const versionCode = versionCodeOf(context);
  const edit = await app.insertEdit();
  const [bundles, apks] = [await app.files(edit, 'bundles'), await app.files(edit, 'apks')];
  const fits = (file: PlayFile) => file.versionCode === versionCode;
  const there = (kind === 'bundles' ? bundles : apks).find(fits);
  const here: Progress = { ...progress, edit, tries: 0, received: 0 };
  const isLast = progress.editsBefore >= EDITS_MAX;
  if (!there && ![...bundles, ...apks].some(fits)) {
    if (!isLast) return next('open', { ...here, wasAbsent: true, committing: false });
    await forget(app, edit);
    return failed('processing_too_long', NO_MORE_EDITS);
  }

  const hash = there?.sha256 ?? null;
  const ours = there && (hash === null ? progress.wasAbsent && uploadBeganAt !== null : hash === artifact.sha256);
  if (!ours) {
    await forget(app, edit);
    return failed('build_number_used', `Version code ${versionCode} is already in Google Play, with another file.`);
  }
  const release = releaseOf(context, progress);
  const shown = (await app.releases(edit, options.track)).filter(({ versionCodes }) =>
    versionCodes.includes(String(versionCode)),
  );
  // If the build came to the track since the commit was sent, the commit brought it there, even if somebody
  // has changed its release afterwards.
  const isOfCommit = progress.committing && !progress.wasOnTrack && shown.length > 0;
  const isReleased = isOfCommit || shown.some((other) => isAsAsked(other, release));
  if (!isReleased && !isLast) {
    const wasOnTrack = progress.committing ? progress.wasOnTrack : shown.length > 0;
    const says = 'Google Play has this file already. It is not sent again.';
    return next('track', { ...here, wasOnTrack }, { says });
  }
  await forget(app, edit);
  return isReleased
    ? { kind: 'done', says: saysDone(context, progress) }
    : failed('processing_too_long', NO_MORE_EDITS);
}

async function open({ context, progress, app }: Work): Promise<StepResult> {
  const session = await app.openUpload(progress.edit, kindOf(context), context.artifact.size);
  const opened = { ...progress, received: 0 };
  return next('send', opened, { data: data(opened, session), sentBytes: 0 });
}

/** Sends the next chunks. It first asks how far the upload is, because an answer may have been lost. */
async function send(work: Work): Promise<StepResult> {
  const { context, progress, session, app } = work;
  const { size } = context.artifact;
  let upload: PlayUpload = { received: progress.received };
  const until = Date.now() + SENDING_MS;
  try {
    upload = await app.received(session, size);
    for (let chunk = 0; chunk < CHUNKS_AT_ONCE && 'received' in upload && Date.now() < until; chunk++) {
      const offset: number = upload.received;
      const length = Math.min(CHUNK_BYTES, size - offset);
      upload = await app.send(session, offset, size, { stream: await context.bytes(offset, length), length });
    }
  } catch (error) {
    if (error instanceof UploadGone) return next('find', { ...progress, received: 0 });
    // Chunks that arrived before the error are not sent again.
    if (!(error instanceof StoreUnreachable) || !('received' in upload) || upload.received <= progress.received)
      throw error;
  }
  if ('file' in upload) return arrived(work, upload.file);
  const { received } = upload;
  const further = { ...progress, received, tries: 0 };
  if (received <= progress.received) return { kind: 'retry', why: 'No further byte has arrived.' };
  return next('send', further, { data: data(further, session), sentBytes: received });
}

/** Google has the whole file. It says which version code it has read, and which bytes it got. */
function arrived({ context, progress }: Work, { versionCode, sha256 }: PlayFile): StepResult {
  const { artifact } = context;
  const expected = versionCodeOf(context);
  if (versionCode !== expected)
    return failed('app_mismatch', `Google Play reads version code ${versionCode} from the file, not ${expected}.`);
  if (sha256 !== null && sha256 !== artifact.sha256) {
    const damaged = progress.damaged + 1;
    const what = `The file has arrived with the SHA-256 ${sha256.slice(0, 12)}, not ${artifact.sha256.slice(0, 12)}.`;
    if (damaged >= DAMAGED_MAX) return failed('upload_damaged', what);
    return anew(context, { ...progress, damaged }, what);
  }
  return next('track', { ...progress, tries: 0 }, { sentBytes: artifact.size });
}

/** The session has ended. If all bytes had arrived, the edit has the file. Otherwise they are sent again. */
async function find(work: Work): Promise<StepResult> {
  const { context, progress, app } = work;
  const files = await app.files(progress.edit, kindOf(context));
  const file = files.find(({ versionCode }) => versionCode === versionCodeOf(context));
  if (file) return arrived(work, file);
  if (progress.tries >= TRIES_MAX) return anew(context, progress, 'The session of the upload has ended.');
  return next('open', { ...progress, tries: progress.tries + 1 });
}

async function track({ context, progress, app }: Work): Promise<StepResult> {
  const { options } = context;
  await app.putRelease(progress.edit, options.track, releaseOf(context, progress));
  return next('commit', { ...progress, committing: true, tries: 0 });
}

/** After a lost answer the same commit is sent again. Google then says that the edit was committed. */
async function commit({ context, progress, app }: Work): Promise<StepResult> {
  await app.commit(progress.edit, context.options.changesNotSentForReview || progress.withheld);
  return { kind: 'done', says: saysDone(context, progress) };
}

/** A release for all users has no fraction: Google refuses 1. */
function releaseOf({ options, artifact }: Context, { draft }: Progress): PlayRelease {
  const { releaseStatus, rollout } = options;
  const versionCodes = [String(Number(artifact.app.buildNumber))];
  if (draft) return { versionCodes, status: 'draft' };
  if (releaseStatus !== 'inProgress') return { versionCodes, status: releaseStatus };
  if (rollout === undefined || rollout >= 1) return { versionCodes, status: 'completed' };
  return { versionCodes, status: 'inProgress', userFraction: rollout };
}

const isAsAsked = (there: PlayRelease, { status, userFraction }: PlayRelease): boolean =>
  there.status === status &&
  (userFraction === undefined || Math.abs((there.userFraction ?? 1) - userFraction) < FRACTION_ROUNDED);

const FRACTION_ROUNDED = 1e-6;

const saysDone = (context: Context, progress: Progress): string =>
  `Version code ${versionCodeOf(context)} is on the track ${context.options.track}, as ` +
  `${releaseOf(context, progress).status}.`;

const NO_MORE_EDITS = `Google Play ended ${EDITS_MAX} edits of this submission. Its file is not on the track now.`;

/** Begins with a new edit, after a pause that grows: another submission of the app may be under way. */
function anew({ now }: Context, progress: Progress, why: string): StepResult {
  const editsBefore = progress.editsBefore + 1;
  const isOver = editsBefore > (progress.committing ? EDITS_MAX : EDITS_MAX - 1);
  if (isOver) return failed(whyLate({ cancellable: !progress.committing }), why);
  const pauseMs = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (editsBefore - 1)) * (0.75 + Math.random() / 2);
  const step = progress.committing ? 'look-again' : 'look';
  const begun = { ...progress, edit: '', editsBefore, notBefore: Math.ceil(now + pauseMs), tries: 0, received: 0 };
  return next(step, begun, { says: `Begins anew with Google Play: ${why}` });
}

/** If a refusal has no meaning of its own, the request decides what it means. */
type Phase = 'look' | 'upload' | 'release';

const REFUSED_IN = {
  look: 'role_missing',
  upload: 'build_refused',
  release: 'release_refused',
} as const satisfies Record<Phase, SubmissionReason>;

const OF_KEY: ReadonlySet<PlayMeaning> = new Set(['key_refused', 'token_refused']);

const DRAFT_WARNING =
  'Google Play takes only drafts of this app, because it was never published. The release is a draft: open it ' +
  'in the Play Console and roll it out there.';

const REVIEW_WARNING =
  'Google Play does not send these changes for review by itself. Send them in the Play Console, on the page ' +
  '*Publishing overview*.';

function onRefusal(phase: Phase, { context, progress, session }: Known, refused: PlayRefused): StepResult {
  const { meaning, message, afterMs } = refused;
  const wait = (ms: number): StepResult => ({
    kind: 'wait',
    afterMs: ms,
    data: data({ ...progress, tries: progress.tries + 1 }, session),
    says: message,
  });
  // Google may have the app, and this refusal does not tell. An admin can mend the key meanwhile.
  const saysNothing = phase === 'look' ? meaning !== 'edit_gone' : OF_KEY.has(meaning);
  if (progress.committing && saysNothing)
    return { kind: 'retry', why: message, ...(afterMs !== undefined && { afterMs }) };
  switch (meaning) {
    case 'edit_gone':
      return anew(context, progress, message);
    // This submission may have sent it, by a commit that Google was slow to carry out. A look tells.
    case 'version_code_used':
      return progress.toldUsed
        ? failed('build_number_used', message)
        : anew(context, { ...progress, toldUsed: true }, message);
    case 'draft_app':
      if (progress.draft || context.options.releaseStatus === 'draft') return failed('draft_app', message);
      return next('track', { ...progress, draft: true, committing: false, tries: 0 }, { warnings: [DRAFT_WARNING] });
    case 'review_by_hand':
      if (progress.withheld) return failed('release_refused', message);
      return next('commit', { ...progress, withheld: true, tries: 0 }, { warnings: [REVIEW_WARNING] });
    // Without the parameter Google would show the release to users, which nobody has asked for.
    case 'review_automatic':
      return failed('release_refused', message);
    case 'token_refused':
      return progress.tries < TRIES_MAX ? wait(TRY_PAUSE_MS) : failed('key_refused', message);
    case 'busy':
      return { kind: 'retry', why: message, ...(afterMs !== undefined && { afterMs }) };
    case 'faulty':
      if (phase === 'look') return { kind: 'retry', why: message, ...(afterMs !== undefined && { afterMs }) };
      return progress.tries < TRIES_MAX ? wait(afterMs ?? TRY_PAUSE_MS) : anew(context, progress, message);
    case 'not_found':
      return failed(phase === 'look' ? 'app_not_found' : REFUSED_IN[phase], message);
    case 'refused':
      return failed(REFUSED_IN[phase], message);
    default:
      return failed(meaning, message);
  }
}

function step(
  phase: Phase,
  fixed: Omit<Step<PlaySubmit>, 'run'>,
  run: (work: Work) => Promise<StepResult>,
): Step<PlaySubmit> {
  return {
    ...fixed,
    run: async (context, given) => {
      const progress = progressOf(given);
      const pauseMs = progress.notBefore - context.now;
      if (phase === 'look' && pauseMs > 0) return { kind: 'wait', afterMs: pauseMs, data: given };
      const session = typeof given.secret.session === 'string' ? given.secret.session : '';
      const known = { context, progress, session };
      try {
        const { key, artifact, addresses, signal } = context;
        return await run({ ...known, app: new PlayApp(key, artifact.app.id, addresses, signal) });
      } catch (error) {
        if (error instanceof StoreUnreachable) return { kind: 'retry', why: error.message };
        if (error instanceof PlayRefused) return onRefusal(phase, known, error);
        if (error instanceof ForeignAddress) return failed('upload_not_allowed', error.message);
        throw error;
      }
    },
  };
}

/** An edit that nobody needs expires by itself. So it does not matter if this fails. */
async function forget(app: PlayApp, edit: string): Promise<void> {
  await app.deleteEdit(edit).catch(() => {});
}

const limitMs = 60 * MINUTE_MS;
const WAITING = { state: 'waiting', limitMs, cancellable: true } as const;
const UPLOADING = { state: 'uploading', limitMs, cancellable: true } as const;
const RELEASING = { state: 'processing', limitMs, cancellable: true } as const;
const COMMITTING = { state: 'processing', limitMs, cancellable: false } as const;

export const play: StoreSteps<PlaySubmit> = {
  first: 'look',
  steps: {
    look: step('look', { ...WAITING, takesTurns: true }, look),
    open: step('upload', WAITING, open),
    send: step('upload', UPLOADING, send),
    find: step('upload', UPLOADING, find),
    track: step('release', RELEASING, track),
    commit: step('release', COMMITTING, commit),
    // The look after a commit that may have happened.
    'look-again': step('look', COMMITTING, look),
  },
  cleanUp: async ({ key, artifact, addresses, signal }, given) => {
    const { edit } = progressOf(given);
    if (edit === '') return;
    await new PlayApp(key, artifact.app.id, addresses, signal).deleteEdit(edit);
  },
};
