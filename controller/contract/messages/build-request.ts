/** Defines the request that makes a build, and the artifacts that it asks for. */
import { z } from 'zod';
import { whyPathsClash } from '../clashing-paths.ts';
import { PLATFORMS, STORE_OF_PLATFORM, USUAL_POOL } from '../closed-lists.ts';
import {
  durationMs,
  Id,
  line,
  Sha256,
  SourcePath,
  secretFile,
  shellText,
  text,
  variableName,
  variableValue,
} from '../fields.ts';
import { KEEP_VM_MAX_MS, KEEP_VM_MIN_MS } from '../lifetimes.ts';
import { SECRET_FILES_MAX, VARIABLES_MAX } from '../sizes.ts';
import { SubmitOptions } from '../store-messages/submissions.ts';
import { DEFAULT_TIMEOUTS, TIMEOUT_MINIMA, type Timeouts } from '../timeouts.ts';
import { App } from './build-numbers.ts';
import { Origin } from './origin.ts';

/**
 * Files to bring back, by a glob that starts at the root of the source. A glob that names a folder (`dist`,
 * `*.xcarchive`) brings the folder as one archive, `dist.tar.gz`. A glob that ends in a bare `*` or `**`
 * means files. A required glob that matches nothing fails the build.
 */
export const ArtifactGlob = z.object({
  glob: text(512).min(1),
  required: z.boolean().default(true),
  /** Collected from a failed build too, for example result bundles and logs. */
  onFailure: z.boolean().default(false),
});
export type ArtifactGlob = z.infer<typeof ArtifactGlob>;

const artifactGlobInput = z.union([
  text(512)
    .min(1)
    .transform((glob) => ArtifactGlob.parse({ glob })),
  ArtifactGlob,
]);

const variables = z.record(variableName, variableValue);

/** Builds of one group of a project may supersede each other. */
export const Group = line(128);

/**
 * The hash of all that the native part of an app depends on, as @expo/fingerprint makes it. By default that
 * is a SHA-1. The project may choose another algorithm.
 */
export const Fingerprint = z
  .string()
  .regex(/^[0-9a-f]{32,128}$/, 'must be a hash of @expo/fingerprint: 32 to 128 lower-case hex digits');

/**
 * The request that makes a build. `minima` are {@link TIMEOUT_MINIMA}; only a test's controller has others.
 */
export const buildRequest = (minima: Record<keyof Timeouts, number>) => {
  const timeout = (name: keyof Timeouts) =>
    durationMs.min(minima[name], `must be at least ${minima[name]} ms`).default(DEFAULT_TIMEOUTS[name]);
  return z
    .strictObject({
      source: z.object({ sha256: Sha256 }),
      /** It runs under `bash -l` in the root of the unpacked source. */
      command: shellText(16_384)
        .refine((command) => command !== '', 'must not be empty')
        .optional(),
      /** Instead of a command: builds this profile of the app's eas.json. */
      profile: z
        .string()
        .regex(
          /^[A-Za-z0-9._-]{1,64}$/,
          'must be the name of a profile in eas.json: 1 to 64 characters of A-Z a-z 0-9 . _ -',
        )
        .optional(),
      platform: z.enum(PLATFORMS),
      /** Variables of the command. The log shows their values, if the request has `secretEnv`. */
      env: variables.default({}),
      /**
       * Further variables of the command, whose values are masked wherever the build prints them. A request
       * without this field may be from a client that knows `env` alone. The agent then masks each value of
       * `env` that looks secret by its name or its length.
       */
      secretEnv: variables.optional(),
      /**
       * Certificates, profiles, keys and other files that are not in the source, in base64. The build finds
       * each one at its path in the source, and below $TARTBEAT_SECRETS.
       */
      secretFiles: z.record(SourcePath, secretFile).default({}),
      artifacts: z.array(artifactGlobInput).max(50).default([]),
      timeouts: z
        .object({
          heartbeatTimeoutMs: timeout('heartbeatTimeoutMs'),
          workerTimeoutMs: timeout('workerTimeoutMs'),
          bootTimeoutMs: timeout('bootTimeoutMs'),
          noOutputTimeoutMs: timeout('noOutputTimeoutMs'),
          buildTimeoutMs: timeout('buildTimeoutMs'),
          queueTimeoutMs: timeout('queueTimeoutMs'),
        })
        .prefault({}),
      pool: Id.default(USUAL_POOL),
      /** Earlier builds of the same project, platform and profile tell how long the next one takes. */
      project: Id.optional(),
      labels: z.record(Id, text(256)).default({}),
      priority: z.number().int().min(-100).max(100).default(0),
      maxAttempts: z.number().int().min(1).max(10).default(1),
      idempotencyKey: text(128).min(1).optional(),
      // The fields below have no default, because a request that leaves them out must stay the same request
      // for the comparison by `idempotencyKey`.
      /** The folder of the app in the source, where its eas.json is. Left out: the root of the source. */
      projectRoot: SourcePath.optional(),
      /**
       * The app that is built, for its build number. Without it, the agent reads what it needs from the
       * source.
       */
      app: App.optional(),
      /** The origin of the source. People see it and filter by it. Nothing trusts it. */
      origin: Origin.optional(),
      group: Group.optional(),
      /** The build cache finds the build by it, for a machine with the same hash. Nothing else trusts it. */
      fingerprint: Fingerprint.optional(),
      /**
       * Cancels the older unfinished builds of the group that this key may cancel. They are those of the same
       * project, of the same trust, and of the pools of the key.
       */
      cancelSuperseded: z.boolean().optional(),
      /** The name of the image to build in. Without it: that of the project, else the default of the Mac. */
      image: Id.optional(),
      /** Keeps the VM of a failed attempt for a look, if the Mac's own setting allows it. */
      keepVm: z.strictObject({ onFailureMs: durationMs.min(KEEP_VM_MIN_MS).max(KEEP_VM_MAX_MS) }).optional(),
      /** False: build it as a stranger's source, even for a trusted key. True cannot make a key trusted. */
      trusted: z.boolean().optional(),
      /** The submission to a store as soon as the build has succeeded. */
      submit: SubmitOptions.optional(),
    })
    .refine(({ submit, platform }) => submit === undefined || submit.store === STORE_OF_PLATFORM[platform], {
      path: ['submit', 'store'],
      message: 'must be the store of the platform: app-store-connect for ios, google-play for android',
    })
    .refine(({ group, cancelSuperseded }) => group !== undefined || cancelSuperseded !== true, {
      path: ['cancelSuperseded'],
      message: 'needs a group',
    })
    .refine((request) => (request.command === undefined) !== (request.profile === undefined), {
      path: ['command'],
      message: 'give exactly one of command and profile',
    })
    .refine(({ projectRoot, profile }) => projectRoot === undefined || profile !== undefined, {
      path: ['projectRoot'],
      message: 'needs a profile; a command can begin with cd',
    })
    .refine(({ env, secretEnv = {} }) => Object.keys(env).length + Object.keys(secretEnv).length <= VARIABLES_MAX, {
      path: ['env'],
      message: `at most ${VARIABLES_MAX} variables, those of secretEnv included`,
    })
    .refine(({ env, secretEnv = {} }) => Object.keys(secretEnv).every((name) => !Object.hasOwn(env, name)), {
      path: ['secretEnv'],
      message: 'a variable is either in env or in secretEnv',
    })
    .refine((request) => Object.keys(request.secretFiles).length <= SECRET_FILES_MAX, {
      path: ['secretFiles'],
      message: `at most ${SECRET_FILES_MAX} files`,
    })
    .superRefine(({ secretFiles }, context) => {
      const message = whyPathsClash(Object.keys(secretFiles));
      if (message !== null) context.addIssue({ code: 'custom', path: ['secretFiles'], message });
    })
    .refine((request) => Object.keys(request.labels).length <= 50, { path: ['labels'], message: 'at most 50 labels' });
};

export const BuildRequest = buildRequest(TIMEOUT_MINIMA);
export type BuildRequest = z.infer<typeof BuildRequest>;

/** A retry needs no body. With a name that was used before, the answer is the build of that earlier retry. */
export const RetryRequest = z.strictObject({ idempotencyKey: text(128).min(1).optional() });
export type RetryRequest = z.infer<typeof RetryRequest>;

/** The request as a submitter sends it. Every field with a default may be left out. */
export type BuildRequestInput = z.input<typeof BuildRequest>;
