/** Says in one line of a terminal how far a build is. Pure. */
import type { Build, Live, QueuePlace, Stage, Submission } from '#contract';
import { printable } from '../../../client/printable.ts';
import { cut, duration, widthOf } from '../../words.ts';
import { STORE_NAMES } from './narrator.ts';

/** The known facts about a build. */
export interface Standing {
  build: Pick<Build, 'status' | 'queuedAt'> | null;
  live: Live | null;
  waitingFor: string | null;
  queue: QueuePlace | null;
  transfer: { name: string; doneBytes: number; sizeBytes: number } | null;
  submission: Pick<Submission, 'store' | 'state' | 'sentBytes' | 'artifact'> | null;
  isAway: boolean;
}

export const NOTHING_KNOWN: Standing = {
  build: null,
  live: null,
  waitingFor: null,
  queue: null,
  transfer: null,
  submission: null,
  isAway: false,
};

/**
 * At most `columns` wide. In a narrow terminal the last parts are left out. `nowMs` is the controller's time.
 * Null if there is nothing to say.
 */
export function statusLine(standing: Standing, name: string | null, nowMs: number, columns: number): string | null {
  const [first, ...rest] = partsOf(standing, nowMs);
  if (first === undefined) return null;
  let line = printable(`${name === null ? '' : `${name}: `}${first}`);
  for (const part of rest) {
    const longer = `${line} · ${printable(part)}`;
    if (widthOf(longer) > columns) break;
    line = longer;
  }
  return cut(line, columns);
}

function partsOf(standing: Standing, nowMs: number): string[] {
  const { build, submission, transfer, isAway } = standing;
  const away = isAway ? ['controller not reached'] : [];
  if (transfer) return [...away, `Downloading ${transfer.name} ${percentOf(transfer.doneBytes, transfer.sizeBytes)}`];
  if (submission) return [...away, submissionWords(submission)];
  if (!build) return away;
  if (build.status === 'queued') {
    const { waitingFor, queue } = standing;
    const since = duration(nowMs - Date.parse(build.queuedAt));
    const place = queue ? queueWords(queue, nowMs) : [];
    const waits = waitingFor ? [`waits for ${waitingFor}`] : [];
    // These words are long and the first ones matter most, so a narrow terminal may cut them.
    return [...away, [`Queued for ${since}`, ...place, ...waits].join(', ')];
  }
  if (build.status !== 'assigned' && build.status !== 'building') return away;
  return [...away, ...runningParts(standing.live, nowMs)];
}

/** Such as `3rd in the queue` and `starts in ~4 min`. */
export function queueWords({ ahead, startExpectedAt }: QueuePlace, nowMs: number): string[] {
  const startMs = startExpectedAt === null ? 0 : Date.parse(startExpectedAt) - nowMs;
  return [`${ordinal(ahead + 1)} in the queue`, ...(startMs > 0 ? [`starts in ~${roughly(startMs)}`] : [])];
}

const ORDINALS = new Intl.PluralRules('en', { type: 'ordinal' });
const ENDINGS: Record<string, string> = { one: 'st', two: 'nd', few: 'rd' };
const ordinal = (place: number): string => `${place}${ENDINGS[ORDINALS.select(place)] ?? 'th'}`;

const STAGE_WORDS: Record<Stage, string> = {
  booting: 'The VM starts',
  checking: 'The VM is checked',
  building: 'Building',
  collecting: 'Collecting artifacts',
};

function runningParts(live: Live | null, nowMs: number): string[] {
  if (!live) return ['Running'];
  const { stage, phase, progress, endExpectedAt, vmBeatAt, agentBeatAt, deadlines } = live;
  const what = stage === 'building' && phase ? phase : STAGE_WORDS[stage];
  const leftMs = endExpectedAt === null ? 0 : Date.parse(endExpectedAt) - nowMs;
  const beatAt = vmBeatAt ?? agentBeatAt;
  const deadlineMs = Math.min(...deadlines.map(({ at }) => Date.parse(at))) - nowMs;
  return [
    progress && stage === 'building' ? `${what} ${progress.percent} %` : what,
    ...(leftMs > 0 ? [`${roughly(leftMs)} left`] : []),
    ...(beatAt === null ? [] : [`beat ${roughly(Math.max(0, nowMs - Date.parse(beatAt)))} ago`]),
    ...(Number.isFinite(deadlineMs) ? [`deadline in ${clock(deadlineMs)}`] : []),
  ];
}

function submissionWords({ store, state, sentBytes, artifact }: NonNullable<Standing['submission']>): string {
  const sent = state === 'uploading' ? ` ${percentOf(sentBytes, artifact.size)}` : '';
  return `${STORE_NAMES[store]}: ${state}${sent}`;
}

const percentOf = (part: number, whole: number): string => `${whole === 0 ? 100 : Math.floor((100 * part) / whole)} %`;

/** In minutes from 100 s on, such as `6 min`, because no estimate is more exact. */
const roughly = (ms: number): string =>
  ms < 100_000 ? `${Math.round(ms / 1_000)} s` : ms < 5_400_000 ? `${Math.round(ms / 60_000)} min` : duration(ms);

/** Such as `1:48`, or `2:01:48` with hours. */
function clock(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
