/**
 * Defines workers: how an admin registers and sees them, the status of an agent, and one-time codes.
 */
import { z } from 'zod';
import { PLATFORMS, WORKER_STATES } from '../closed-lists.ts';
import { durationMs, Id, lenient, Platforms, Slots, text, time } from '../fields.ts';
import { FINDING_ID_MAX, FINDING_TEXT_MAX, FINDING_TITLE_MAX, FINDINGS_MAX, POOLS_OF_WORKER_MAX } from '../sizes.ts';
import { Timeouts } from '../timeouts.ts';
import { ImageFetches, ImageOffer, ImageOffers, WantedImage } from './images.ts';

/** The pools that a worker serves, the one that it prefers first. */
const Pools = z
  .array(Id)
  .min(1)
  .max(POOLS_OF_WORKER_MAX, `a worker serves at most ${POOLS_OF_WORKER_MAX} pools`)
  .refine((pools) => new Set(pools).size === pools.length, 'must not name a pool twice');

/** `pool` is the older form of a list of one. */
const isOneForm = ({ pool, pools }: { pool?: string | undefined; pools?: string[] | undefined }) =>
  pool === undefined || pools === undefined;
const ONE_FORM = { path: ['pools'], message: 'give either pools or pool, which means a list of one' };

export const WorkerRequest = z
  .strictObject({
    name: Id,
    /** Without both, the worker serves the pool `default`. */
    pools: Pools.optional(),
    pool: Id.optional(),
    /** `platforms` and `slots` hold until the worker's agent reports its own. */
    platforms: Platforms.default(['ios', 'android']),
    slots: Slots.default(1),
    /** The answer has the key, or a one-time code that `expo-worker init --code` trades for a key. */
    credential: z.enum(['key', 'code']).default('key'),
  })
  .refine(isOneForm, ONE_FORM);
export type WorkerRequest = z.infer<typeof WorkerRequest>;

/** The worker's agent reports slots and platforms, so an admin cannot change them here. */
export const WorkerPatch = z
  .strictObject({
    action: z.enum(['pause', 'resume', 'drain']).optional(),
    /** From now on the worker serves these pools. The attempts that it holds continue. */
    pools: Pools.optional(),
    pool: Id.optional(),
  })
  .refine(isOneForm, ONE_FORM)
  .refine(({ action, pool, pools }) => action !== undefined || pool !== undefined || pools !== undefined, {
    message:
      'give an action or pools. To change slots or platforms, set `maxConcurrentBuilds` or `platforms` in the ' +
      'config of the agent',
  });
export type WorkerPatch = z.infer<typeof WorkerPatch>;

/** The pools that a request names in either form. Undefined if it names none. */
export const poolsAskedFor = ({ pool, pools }: { pool?: string | undefined; pools?: string[] | undefined }) =>
  pools ?? (pool === undefined ? undefined : [pool]);

export const Finding = z.object({
  id: text(FINDING_ID_MAX),
  title: text(FINDING_TITLE_MAX),
  status: z.enum(['pass', 'warn', 'fail', 'skipped']),
  blocking: z.boolean(),
  detail: text(FINDING_TEXT_MAX).default(''),
  fix: text(FINDING_TEXT_MAX).nullable().default(null),
});
export type Finding = z.infer<typeof Finding>;

export const Worker = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(WORKER_STATES),
  /** Why the worker takes no builds, if it takes none. */
  stateReason: z.string().nullable(),
  /** The pools that it serves, the one that it prefers first. Older controllers name `pool` alone. */
  pools: z.array(z.string()).default([]),
  /** The first of `pools`. */
  pool: z.string(),
  platforms: z.array(z.enum(PLATFORMS)),
  /** The pairs of image and platform that it offers. Empty for an older agent. */
  images: z.array(ImageOffer).default([]),
  slots: z.number().int(),
  /** `slotsInUse` and `vms` are as the agent reports them. */
  slotsInUse: z.number().int(),
  vms: z.array(z.string()),
  builds: z.array(z.string()),
  lastSeenAt: time.nullable(),
  createdAt: time,
  /** The last report of its doctor. A list of workers leaves it out. */
  findings: z.array(Finding).nullable(),
});
export type Worker = z.infer<typeof Worker>;

export const WorkerList = z.object({ workers: z.array(Worker) });

/**
 * The answer to a request with `credential: 'key'`, the default. With `'code'` it is {@link WorkerInvited}.
 */
export const WorkerRegistered = z.object({ worker: Worker, key: z.string() });

/** The status of an agent, which it sends on every change and at least once a minute. */
export const WorkerStatus = z.object({
  instanceId: Id,
  slots: Slots,
  platforms: lenient(Platforms),
  /** Older agents offer none. */
  images: lenient(ImageOffers),
  /** Its progress with the images that its pools name. */
  imageFetches: lenient(ImageFetches),
  slotsInUse: z.number().int().min(0).max(8),
  vms: z.array(text(128)).max(16),
  agentVersion: text(64),
  /** Why the agent claims no builds although a slot is free. Null if it claims; left out by older agents. */
  notReady: text(FINDING_TEXT_MAX).nullable().default(null),
  findings: z.array(Finding).max(FINDINGS_MAX).optional(),
});
export type WorkerStatus = z.infer<typeof WorkerStatus>;

export const WorkerStatusAnswer = z.object({
  state: z.enum(WORKER_STATES),
  nextMs: durationMs,
  /** The images that the worker's pools name. Older controllers name none. */
  images: z.array(WantedImage).default([]),
});
export type WorkerStatusAnswer = z.infer<typeof WorkerStatusAnswer>;

/**
 * The doctor's report, also from a Mac on which no agent runs. Without a blocking failure it ends quarantine.
 */
export const FindingsReport = z.object({ instanceId: Id, findings: z.array(Finding).max(FINDINGS_MAX) });
export type FindingsReport = z.infer<typeof FindingsReport>;

/** The last successful attempts of a worker, newest first. Limits may be tuned by them. */
export const WorkerDurations = z.object({
  attempts: z.array(
    z.object({
      buildId: z.string(),
      project: z.string().nullable(),
      platform: z.enum(PLATFORMS),
      endedAt: time,
      /** From the claim to the start of the command. */
      bootMs: z.number().nullable(),
      /** From the claim to the end. */
      totalMs: z.number(),
      /**
       * The longest time in which the log did not grow and the VM did not work. Older agents also counted the
       * time in which it worked.
       */
      quietMs: z.number().nullable(),
      timeouts: Timeouts,
    }),
  ),
});
export type WorkerDurations = z.infer<typeof WorkerDurations>;

/** A request for a one-time code, which the agent trades for the worker's key. */
export const EnrolmentRequest = z.object({
  validForMinutes: z
    .number()
    .int()
    .min(1)
    .max(7 * 24 * 60)
    .default(60),
});
export type EnrolmentRequest = z.infer<typeof EnrolmentRequest>;

export const EnrolmentCreated = z.object({ code: z.string(), workerId: z.string(), expiresAt: time });

export const WorkerInvited = z.object({ worker: Worker, enrolment: EnrolmentCreated });

export const EnrolRequest = z.object({ code: text(200).min(1) });

export const Enrolled = z.object({ workerId: z.string(), name: z.string(), key: z.string() });
export type Enrolled = z.infer<typeof Enrolled>;
