/**
 * Defines the closed lists: statuses, stages, verdicts, causes, health checks, error codes, worker states.
 * It also has the pool and the project of a request that names none.
 *
 * Invariant: an entry is never renamed and never reused, because agents and stored rows know the old ones.
 */

export const BUILD_STATUSES = ['queued', 'assigned', 'building', 'succeeded', 'failed', 'cancelled'] as const;
export type BuildStatus = (typeof BUILD_STATUSES)[number];

/** The pool and the project of a request that names none. */
export const USUAL_POOL = 'default';
export const USUAL_PROJECT = 'default';

export const PLATFORMS = ['ios', 'android'] as const;

/** The kinds of app that the agent knows by file name: `.ipa`, `.app.tar.gz`, `.apk` and `.aab`. */
export const APP_KINDS = ['ipa', 'app', 'apk', 'aab'] as const;

/**
 * The ways in which an app is signed. The first five are of iOS: four kinds of the app's own provisioning
 * profile, and the simulator, which needs none. `debug` and `release` are of Android: `debug` is the key that
 * every SDK makes for itself, which Play refuses.
 */
export const APP_SIGNINGS = [
  'app-store',
  'ad-hoc',
  'development',
  'enterprise',
  'simulator',
  'debug',
  'release',
  'unsigned',
] as const;
export type AppSigning = (typeof APP_SIGNINGS)[number];

/** The agent's present work on the attempt. Only the agent sets it, and it decides which clocks run. */
export const STAGES = ['booting', 'checking', 'building', 'collecting'] as const;
export type Stage = (typeof STAGES)[number];

export const VERDICTS = [
  'build_failed',
  'build_timeout',
  'no_output',
  'source_invalid',
  'project_invalid',
  'artifact_missing',
  'artifact_refused',
  'inputs_gone',
  'cancelled',
  'queue_expired',
  'vm_silent',
  'worker_lost',
  'boot_timeout',
  'vm_start_failed',
  'health_check_failed',
  'vm_exited',
  'worker_restarted',
  'worker_stopped',
  'transfer_failed',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** The verdicts that an agent may report. Only the controller gives the others. */
export const AGENT_VERDICTS = [
  'build_failed',
  'source_invalid',
  'project_invalid',
  'artifact_missing',
  'artifact_refused',
  'inputs_gone',
  'worker_lost',
  'vm_start_failed',
  'health_check_failed',
  'vm_exited',
  'worker_restarted',
  'worker_stopped',
  'transfer_failed',
] as const satisfies readonly Verdict[];
export type AgentVerdict = (typeof AGENT_VERDICTS)[number];

/** Why an agent hands a build back: this Mac can have no VM for it now, and the build is not to blame. */
export const HAND_BACK_REASONS = ['vm_limit', 'image_gone'] as const;
export type HandBackReason = (typeof HAND_BACK_REASONS)[number];

export const CAUSES = [
  'vm_frozen',
  'monitor_died',
  'vm_network_down',
  'disk_full',
  'out_of_memory',
  'vm_exited',
  'host_asleep',
  'host_network_down',
  'host_disk_full',
  'vm_restarted',
  'vm_limit',
  'sshd_died',
  'unknown',
] as const;
export type Cause = (typeof CAUSES)[number];

export const HEALTH_CHECK_IDS = [
  'vm_exists',
  'vm_address',
  'vm_identity',
  'ssh',
  'guest_scripts',
  'disk_space',
  'monitor',
  'curl',
  'controller',
  'clock',
] as const;
export type HealthCheckId = (typeof HEALTH_CHECK_IDS)[number];

/** The kinds of client that a key can be for. */
export const SCOPES = ['admin', 'submit', 'read', 'worker'] as const;

/** Rights that a key has only if it was given them. */
export const GRANTS = [
  /** Its builds receive the stored secrets of their project and pool. */
  'secrets.use',
  'secrets.set',
  'numbers',
  'stores',
  'links',
  'webhooks',
  'caches.write',
  'keep',
  /** Makes, rotates and revokes keys of its own projects whose rights are a subset of its own. */
  'admin',
] as const;
export type Grant = (typeof GRANTS)[number];

/** The access of a build to the caches of its project. */
export const CACHE_MODES = ['none', 'read', 'write'] as const;
export type CacheMode = (typeof CACHE_MODES)[number];

export const STORES = ['app-store-connect', 'google-play'] as const;
export type Store = (typeof STORES)[number];

/** The store that takes the apps of a platform. */
export const STORE_OF_PLATFORM = { ios: 'app-store-connect', android: 'google-play' } as const satisfies Record<
  (typeof PLATFORMS)[number],
  Store
>;

/** The states of a submission. The last three are final. */
export const SUBMISSION_STATES = ['waiting', 'uploading', 'processing', 'done', 'failed', 'cancelled'] as const;
export type SubmissionState = (typeof SUBMISSION_STATES)[number];

/** Why a submission has failed. */
export const SUBMISSION_REASONS = [
  'key_gone',
  'key_refused',
  'key_not_for_app',
  'right_gone',
  'role_missing',
  'agreement_missing',
  'app_not_found',
  'artifact_gone',
  'artifact_unsuitable',
  'app_mismatch',
  'build_number_used',
  'version_closed',
  'sdk_too_old',
  'purpose_text_missing',
  'build_refused',
  'draft_app',
  'release_refused',
  'quota_used_up',
  'upload_damaged',
  'upload_not_allowed',
  'store_unavailable',
  'processing_too_long',
  'restored',
  'internal',
] as const;
export type SubmissionReason = (typeof SUBMISSION_REASONS)[number];

export const ERROR_CODES = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'not_found',
  'stale_attempt',
  'attempt_ended',
  'illegal_transition',
  'worker_in_use',
  'artifact_not_stored',
  'blob_not_stored',
  'upload_incomplete',
  'idempotency_mismatch',
  'inputs_gone',
  'number_not_seeded',
  'inputs_key_missing',
  'store_refused',
  'submission_exists',
  'not_installable',
  'public_url_missing',
  'project_deleted',
  'project_in_use',
  'too_many',
  'wrong_offset',
  'hash_mismatch',
  'too_large',
  'log_sealed',
  'contract_too_old',
  'rate_limited',
  'unavailable',
  'internal',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export const WORKER_STATES = ['offline', 'paused', 'quarantined', 'cleaning', 'busy', 'idle'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];
