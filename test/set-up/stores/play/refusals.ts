/** Lists what Google Play answers when it refuses, by name. `{app}` stands for the package. */

export interface PlayRefusal {
  code: number;
  reason: string;
  message: string;
  status?: string;
  domain?: string;
}

const invalid = (message: string): PlayRefusal => ({
  code: 400,
  reason: 'badRequest',
  status: 'INVALID_ARGUMENT',
  message,
});

const quota = (limit: string, code: number): PlayRefusal => ({
  code,
  domain: 'usageLimits',
  reason: 'rateLimitExceeded',
  status: 'RESOURCE_EXHAUSTED',
  message:
    `Quota exceeded for quota metric 'Queries' and limit '${limit}' of service ` +
    "'androidpublisher.googleapis.com' for consumer 'project_number:1'.",
});

export const PLAY_REFUSALS = {
  package_not_found: { code: 404, reason: 'notFound', status: 'NOT_FOUND', message: 'Package not found: {app}.' },
  no_permission: {
    code: 403,
    reason: 'forbidden',
    status: 'PERMISSION_DENIED',
    message: 'The caller does not have permission',
  },
  api_disabled: {
    code: 403,
    domain: 'usageLimits',
    reason: 'accessNotConfigured',
    status: 'PERMISSION_DENIED',
    message: 'Google Play Android Developer API has not been used in project 1 before or it is disabled.',
  },
  unauthenticated: {
    code: 401,
    reason: 'authError',
    status: 'UNAUTHENTICATED',
    message: 'Request had invalid authentication credentials.',
  },
  version_code_used: {
    code: 403,
    reason: 'apkUpgradeVersionConflict',
    message: 'APK specifies a version code that has already been used.',
  },
  bundle_of_apk: {
    code: 403,
    reason: 'replacingBundleWithApk',
    message: 'You cannot insert a bundle with the same version code as an APK in the edit.',
  },
  wrong_key: {
    code: 403,
    reason: 'forbidden',
    status: 'PERMISSION_DENIED',
    message:
      'Your Android App Bundle is signed with the wrong key. Ensure that your App Bundle is signed with the ' +
      'correct signing key and try again.',
  },
  wrong_package: {
    code: 403,
    reason: 'forbidden',
    status: 'PERMISSION_DENIED',
    message: "APK has the wrong package name 'com.other'. It must be '{app}'.",
  },
  sdk_too_old: {
    code: 403,
    reason: 'forbidden',
    status: 'PERMISSION_DENIED',
    message: 'Your app currently targets API level 33 and must target at least API level 35.',
  },
  no_bundle: invalid('Package file was not in a valid format.'),
  edit_deleted: invalid('This Edit has been deleted.'),
  edit_gone: { code: 410, reason: 'editDeleted', domain: 'androidpublisher', message: 'This Edit has been deleted.' },
  edit_expired: { ...invalid('This edit has expired, please create a new Edit.'), status: 'FAILED_PRECONDITION' },
  edit_committed: invalid('This edit has already been successfully committed, please create a new Edit.'),
  edit_not_found: { code: 404, reason: 'editNotFound', message: 'Edit not found.' },
  draft_app: {
    code: 400,
    domain: 'androidpublisher',
    reason: 'rolloutNotPermittedOnDraftApp',
    message: 'Only releases with status draft may be created on draft app.',
  },
  review_by_hand: invalid(
    'Changes cannot be sent for review automatically. Please set the query parameter changesNotSentForReview ' +
      'to true. Once committed, the changes in this edit can be sent for review from the Google Play Console UI.',
  ),
  review_automatic: invalid(
    'Changes are sent for review automatically. The query parameter changesNotSentForReview must not be set.',
  ),
  not_completed: invalid('Some of the Android App Bundle uploads are not completed yet.'),
  fraction_too_large: invalid('User fraction must be lower than one.'),
  fraction_not_allowed: invalid('A release of this status must not have a fraction.'),
  fraction_missing: invalid('A release that is in progress must have a fraction.'),
  no_such_version: invalid('Version code is not in the library.'),
  track_not_found: { code: 404, reason: 'notFound', status: 'NOT_FOUND', message: 'Track not found.' },
  internal: { code: 500, reason: 'backendError', status: 'INTERNAL', message: 'Internal error encountered.' },
  concurrent: { code: 409, reason: 'concurrentUpdate', status: 'ABORTED', message: 'Concurrent update.' },
  daily_saves: {
    code: 403,
    domain: 'androidpublisher',
    reason: 'publishingDailySaveQuotaExceeded',
    message: 'Daily save quota exceeded.',
  },
  queries_per_day: quota('Queries per day', 403),
  queries_per_minute: quota('Queries per minute', 429),
} as const satisfies Record<string, PlayRefusal>;

export type PlayRefusalName = keyof typeof PLAY_REFUSALS;

/** Stops the handling of a request with an answer. */
export class Refused extends Error {
  readonly code: number;
  readonly body: object;

  constructor(code: number, body: object) {
    super('refused');
    this.code = code;
    this.body = body;
  }
}

export function refused(name: PlayRefusalName, app = ''): Refused {
  const { code, reason, message, status, domain = 'global' }: PlayRefusal = PLAY_REFUSALS[name];
  const said = message.replace('{app}', app);
  return new Refused(code, {
    error: { code, message: said, errors: [{ message: said, domain, reason }], ...(status && { status }) },
  });
}
