/** Bounds messages, files and lists, in bytes, characters or entries. */

/** One upload request. Cloudflare takes 100 MB a request, and the headers need some of it. */
export const BLOB_MAX_BYTES = 95 * 1024 * 1024;

/** Every part of an upload but the last has this size. It is small enough that a lost part costs little. */
export const UPLOAD_PART_BYTES = 16 * 1024 * 1024;

/** R2's own limit. */
export const UPLOAD_PARTS_MAX = 10_000;

export const UPLOAD_MAX_BYTES = UPLOAD_PART_BYTES * UPLOAD_PARTS_MAX;

/** Files, folders and links of a source, and their bytes when unpacked. An agent refuses a larger one. */
export const SOURCE_ENTRIES_MAX = 500_000;

export const SOURCE_BYTES_MAX = 20 * 1024 ** 3;

/** One append to a log. A Durable Object has memory for many of them at once. */
export const LOG_APPEND_MAX_BYTES = 1024 * 1024;

/** The highest number of an attempt. */
export const ATTEMPT_MAX = 1_000;

export const ARTIFACTS_MAX = 200;

/** A curve has a point at 0/16, 1/16 … 16/16 of a phase's work. */
export const CURVE_STEPS = 16;

export const HISTORY_PHASES_MAX = 96;

/** A history counts the builds that are mixed in it up to this number. */
export const HISTORY_BUILDS_MAX = 1_000_000;

/** A request for a build. There is room for an environment with certificates in it. */
export const BUILD_REQUEST_MAX_BYTES = 1024 * 1024;

/** Entries of one page of a list, and builds of a page with live figures. */
export const PAGE_MAX = 100;
export const LIVE_PAGE_MAX = 20;

/** Variables of a build, secret ones included, and the characters of the value of one. */
export const VARIABLES_MAX = 200;
export const VARIABLE_VALUE_MAX = 32_768;

/** The origin of a source, in characters: names, such as that of a branch, and a commit's message. */
export const ORIGIN_NAME_MAX = 256;
export const ORIGIN_MESSAGE_MAX = 1_000;

/** Variables and secret files are one sealed row. The limit of the request, 1 MiB, bounds them together. */
export const SECRET_FILES_MAX = 100;

export const SECRET_FILE_MAX_BYTES = 256 * 1024;

/** Variables and files of a build together, stored secrets included, as JSON. */
export const INPUTS_MAX_BYTES = 1024 * 1024;

/** Stored secrets of a project in one pool. */
export const STORED_SECRETS_MAX = 200;

/** Pools for which one request sets a stored secret. */
export const POOLS_OF_SECRET_MAX = 20;

/** How many of the builds that used a stored secret last are shown with it. */
export const SECRET_USERS_MAX = 10;

/** How many findings a doctor's report holds, and how many characters their texts have. */
export const FINDINGS_MAX = 64;

export const FINDING_ID_MAX = 64;

export const FINDING_TITLE_MAX = 200;

export const FINDING_TEXT_MAX = 2_000;

/** The report of a failure, in characters: the step that failed, and the sentence that says why. */
export const REPORT_STEP_MAX = 64;

export const REPORT_MESSAGE_MAX = 4_000;

/** Lines of the log that a verdict shows as a guess, and the characters of one line. */
export const TELLING_LINES_MAX = 10;

export const TELLING_LINE_MAX = 500;

/**
 * The evidence of a VM before it was destroyed, in characters: the output of a program, an error, the end of
 * the log.
 */
export const EVIDENCE_OUTPUT_MAX = 8_192;

export const EVIDENCE_ERROR_MAX = 500;

export const EVIDENCE_LOG_TAIL_MAX = 65_536;

/** The processes of a build that are kept with the evidence, and the characters of each. */
export const PROCESSES_MAX = 10;

export const PROCESS_COMMAND_MAX = 200;

export const PROCESS_STATE_MAX = 16;

export const PROJECTS_OF_KEY_MAX = 50;

export const POOLS_OF_KEY_MAX = 50;

export const POOLS_OF_WORKER_MAX = 8;

/** The highest of the limits that an admin may set for a project. */
export const PROJECT_LIMIT_MAX = 10_000;

/** How many untrusted builds a project may have in the queue, unless an admin says otherwise. */
export const UNTRUSTED_QUEUED_USUAL = 20;

/** Apps of a project, on both platforms together, that have a counter of build numbers. */
export const APPS_OF_PROJECT_MAX = 200;

/** Play's own limit of a versionCode. */
export const ANDROID_BUILD_NUMBER_MAX = 2_100_000_000;

/** A build number may be a time, such as 202611281759. */
export const IOS_BUILD_NUMBER_MAX = Number.MAX_SAFE_INTEGER;

/** How much higher than the counter a build number may be. A larger step needs the right `numbers`. */
export const BUILD_NUMBER_STEP_MAX = 10_000;

/** Pairs of image and platform that a worker offers. */
export const IMAGE_OFFERS_MAX = 16;
/** Images that a pool names. */
export const IMAGES_OF_POOL_MAX = 8;
export const IMAGE_FETCHES_AT_ONCE_MAX = 100;
export const IMAGE_MESSAGE_MAX = 500;

/** Keys of stores that a project has, and apps that one of them is for. */
export const STORE_KEYS_MAX = 20;
export const APPS_OF_STORE_KEY_MAX = 50;

/** A .p8 has some 250 bytes, a service account some 2,400. */
export const STORE_KEY_TEXT_MAX = 16_384;

/** Apple's own limit of "What to Test". */
export const WHAT_TO_TEST_MAX = 4_000;

export const TESTER_GROUPS_MAX = 20;

/** Entries in the timeline of a submission, and its warnings. */
export const SUBMISSION_EVENTS_MAX = 100;
export const SUBMISSION_WARNINGS_MAX = 20;

/** The words of a store, in characters. */
export const STORE_WORDS_MAX = 2_000;

/** Links of one build and of one project, with those that have ended and are not deleted yet. */
export const LINKS_OF_BUILD_MAX = 50;
export const LINKS_OF_PROJECT_MAX = 2_000;

/** Submissions of one build. */
export const SUBMISSIONS_OF_BUILD_MAX = 50;
