/** How large a message, a file and a list may be, in bytes or in entries. */

/** One upload request. Cloudflare takes 100 MB a request; the rest is head room for what surrounds the body. */
export const BLOB_MAX_BYTES = 95 * 1024 * 1024;

/** Of an upload in parts: all but the last are this long. Small enough that one lost part costs little, of 10,000 at most. */
export const UPLOAD_PART_BYTES = 16 * 1024 * 1024;

export const UPLOAD_PARTS_MAX = 10_000;

export const UPLOAD_MAX_BYTES = UPLOAD_PART_BYTES * UPLOAD_PARTS_MAX;

/** One append to a log: well below a Durable Object's memory, large enough for a 20 MB/s burst at two a second. */
export const LOG_APPEND_MAX_BYTES = 1024 * 1024;

export const ARTIFACTS_MAX = 200;

/** The curve is read at 0/16, 1/16 … 16/16 of a phase's work. */
export const CURVE_STEPS = 16;

export const HISTORY_PHASES_MAX = 96;

/** Together with the variables they are one sealed row: the request's own limit of 1 MiB bounds them all. */
export const SECRET_FILES_MAX = 20;

export const SECRET_FILE_MAX_BYTES = 256 * 1024;

/** A doctor's report to the controller: how many checks, and how many characters each text of one may have. */
export const FINDINGS_MAX = 64;

export const FINDING_ID_MAX = 64;

export const FINDING_TITLE_MAX = 200;

export const FINDING_TEXT_MAX = 2_000;

/** How an attempt ended: characters of the step that failed, and of the sentence that says why. */
export const REPORT_STEP_MAX = 64;

export const REPORT_MESSAGE_MAX = 4_000;

/** Lines of the log that a verdict shows as a guess, and the characters of one line. */
export const TELLING_LINES_MAX = 10;

export const TELLING_LINE_MAX = 500;

/** What was seen of a VM before it was destroyed, in characters: what a program printed, an error, the log's end. */
export const EVIDENCE_OUTPUT_MAX = 8_192;

export const EVIDENCE_ERROR_MAX = 500;

export const EVIDENCE_LOG_TAIL_MAX = 65_536;
