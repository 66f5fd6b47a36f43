/**
 * Turns the outcome of a call to the controller into a value, a refusal, or `unreachable`.
 *
 * Invariant: an answer is a refusal only if it has the form of the controller's own errors. A proxy's page or
 * a captive portal must not end a build, so every other failure is `unreachable`. Only `unreachable` is worth
 * a retry. There is one exception: a proxy that answers 413 would answer 413 again, so that is a refusal too.
 */
import type { z } from 'zod';
import { ErrorBody, type Outcome } from '#contract';

export interface Refused {
  ok: false;
  kind: 'refused';
  status: number;
  /** A code of the contract's closed list, or of a newer controller's list. */
  code: string;
  message: string;
  expectedOffset?: number | undefined;
  action?: 'stop' | undefined;
  /** For a refused report: how its attempt has ended. */
  outcome?: Outcome | undefined;
}

export interface Unreachable {
  ok: false;
  kind: 'unreachable';
  message: string;
  /** True if Cloudflare itself says that the controller cannot be reached now. */
  outage?: true;
  retryAfterMs?: number;
}

export type Answer<T> = { ok: true; value: T } | Refused | Unreachable;

/** The largest answer of the controller, in bytes. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;
const RETRY_AFTER_MAX_MS = 60_000;

/** Reads `response` and checks it with the schema of the expected answer. */
export async function answerOf<T>(response: Response, schema: z.ZodType<T>): Promise<Answer<T>> {
  if (!response.ok) return await failureOf(response);
  const parsed = schema.safeParse(await readJson(response));
  if (parsed.success) return { ok: true, value: parsed.data };
  const issue = parsed.error.issues[0]!;
  return {
    ok: false,
    kind: 'unreachable',
    message: `something other than the controller answered (${issue.path.join('.') || 'body'}: ${issue.message})`,
  };
}

/** Turns a response without success into a refusal, or into `unreachable`. */
export async function failureOf(response: Response): Promise<Refused | Unreachable> {
  const { status } = response;
  const text = await readText(response).catch(() => '');
  const body = ErrorBody.safeParse(jsonOf(text));
  const code = body.success ? undefined : PLATFORM_ERROR.exec(text)?.[1];
  if (code === QUOTA_USED_UP) return { ok: false, kind: 'unreachable', message: PLATFORM_ERRORS[code], outage: true };
  if (status === 413 && !body.success)
    return { ok: false, kind: 'refused', status, code: 'too_large', message: TOO_LARGE_ON_THE_WAY };
  const named =
    code !== undefined && code in PLATFORM_ERRORS ? PLATFORM_ERRORS[code as keyof typeof PLATFORM_ERRORS] : null;
  const message = body.success ? body.data.error.message : (named ?? 'the answer is not an error of the controller');
  // A limit that a person has set does not change within seconds, so a retry is useless.
  const isLimit = body.success && body.data.error.code === 'too_many';
  if (status === 429 && !isLimit)
    return { ok: false, kind: 'unreachable', message, retryAfterMs: retryAfterMs(response) };
  if (status < 400 || status >= 500 || !body.success)
    return { ok: false, kind: 'unreachable', message: `HTTP ${status}: ${message}` };
  const { error, expectedOffset, action, outcome } = body.data;
  return { ok: false, kind: 'refused', status, code: error.code, message, expectedOffset, action, outcome };
}

const PLATFORM_ERROR = /\berror(?: code)?:?\s*(1\d\d\d)\b/i;
const QUOTA_USED_UP = '1027';
/** Errors that Cloudflare answers instead of the controller. */
const PLATFORM_ERRORS = {
  [QUOTA_USED_UP]:
    'the Cloudflare account has used up its requests of the day, and gets new ones at midnight UTC (error 1027)',
  '1101': 'the controller ended at Cloudflare without an answer (error 1101)',
  '1102': 'the controller used up the CPU time that its plan at Cloudflare allows for a request (error 1102)',
};

const TOO_LARGE_ON_THE_WAY = 'something on the way to the controller does not let a request of this size through';

function retryAfterMs(response: Response): number {
  const header = response.headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MAX_MS) : 1_000;
}

const readJson = async (response: Response): Promise<unknown> => JSON.parse(await readText(response));

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > ANSWER_MAX_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Turns a broken connection into `unreachable`. Throws the reason of `signal` if that has aborted. */
export function unreachable(error: unknown, signal?: AbortSignal): Unreachable {
  signal?.throwIfAborted();
  const { name, message, cause } = error as Error;
  const detail = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message;
  return { ok: false, kind: 'unreachable', message: name === 'TimeoutError' ? 'no answer in time' : detail };
}

/** An answer without success, as an error. Commands use it, because they end at the first error. */
export class ApiError extends Error {
  override name = 'ApiError';
  /** The HTTP status. It is 503 if the controller could not be reached. */
  readonly status: number;
  /** A code of the contract's closed list. It is `unavailable` if the controller could not be reached. */
  readonly code: string;
  /** The controller's message without the request, for people who have just typed the request. */
  readonly reason: string;
  constructor(status: number, code: string, message: string, reason: string = message) {
    super(message);
    this.status = status;
    this.code = code;
    this.reason = reason;
  }
}

/** Returns the value of an answer. Otherwise throws an {@link ApiError} that begins with `what`. */
export function valueOrThrow<T>(answer: Answer<T>, what: string): T {
  if (answer.ok) return answer.value;
  if (answer.kind === 'unreachable') throw new ApiError(503, 'unavailable', `${what}: ${answer.message}`);
  const { status, code, message } = answer;
  throw new ApiError(status, code, `${what}: the controller answered ${status} ${code}: ${message}`, message);
}

/** The message for people if a command ends with this error. */
export const reasonOf = (error: Error): string => (error instanceof ApiError ? error.reason : error.message);
