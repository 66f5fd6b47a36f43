/**
 * Holds the use of D1 to the limits of the platform, which the local D1 does not enforce, and counts it. The
 * test's entry gives each request a database of its own, so that the limit of an invocation is that of a
 * request.
 *
 * Invariant: a call within the limits does what the real database does.
 */

/** The limit of an invocation, on the free plan. */
export const STATEMENTS_MAX = 50;
/** The limit of a statement. */
const PARAMETERS_MAX = 100;
const SQL_MAX_BYTES = 100_000;
/** The limit of a parameter, a value and a row. */
const VALUE_MAX_BYTES = 2_000_000;
/** The limit of the answer to one call, below the 32 MiB of a call between two Workers. */
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

export interface Usage {
  name: string;
  statements: number;
  /** The largest number of parameters of one statement. */
  parameters: number;
  rows: number;
  answerBytes: number;
  /** Calls of R2. */
  objects: number;
}

/** The usage of each request since the test file began. */
export const requests: Usage[] = [];

/** The usage of each object of a submission, for as long as it is in memory. */
export const uploads: Usage[] = [];

export const begin = (name: string): Usage => ({
  name,
  statements: 0,
  parameters: 0,
  rows: 0,
  answerBytes: 0,
  objects: 0,
});

/** @param statementsMax no limit for a Durable Object, which is not made anew for each invocation */
export const withPlatformLimits = (env: Env, usage: Usage, statementsMax = STATEMENTS_MAX): Env => ({
  ...env,
  DB: limited(env.DB, usage, statementsMax),
  BLOBS: counted(env.BLOBS, usage),
});

const counted = (bucket: R2Bucket, usage: Usage): R2Bucket =>
  new Proxy(bucket, {
    get(target, name) {
      const value = bound(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        usage.objects++;
        return value(...args);
      };
    },
  });

const ASKING = new Set<PropertyKey>(['run', 'all', 'raw', 'first']);
interface Asked {
  sql: string;
  values: unknown[];
}
/** The real statement behind a wrapped one, because `batch` takes only those. */
const real = new WeakMap<D1PreparedStatement, Asked & { statement: D1PreparedStatement }>();

function limited(db: D1Database, usage: Usage, statementsMax: number): D1Database {
  const ask = async <T>(asked: Asked[], call: () => Promise<T>): Promise<T> => {
    usage.statements += asked.length;
    if (usage.statements > statementsMax)
      throw new Error(`D1_ERROR: ${usage.name}: more than ${statementsMax} statements in one invocation`);
    for (const { sql, values } of asked) {
      usage.parameters = Math.max(usage.parameters, values.length);
      if (values.length > PARAMETERS_MAX) throw new Error(`D1_ERROR: too many SQL variables: ${values.length}`);
      if (sql.length > SQL_MAX_BYTES) throw new Error(`D1_ERROR: statement too long: ${sql.length}`);
      const longest = Math.max(0, ...values.map(bytesOf));
      if (longest > VALUE_MAX_BYTES) throw new Error(`D1_ERROR: string or blob too big: ${longest}`);
    }
    const answer = await call();
    const rows = rowsIn(answer);
    usage.rows += rows.length;
    const bytes = rows.map(bytesOf);
    const total = bytes.reduce((sum, one) => sum + one, 0);
    usage.answerBytes += total;
    if (Math.max(0, ...bytes) > VALUE_MAX_BYTES) throw new Error('D1_ERROR: a row has more than 2 MB');
    if (total > ANSWER_MAX_BYTES) throw new Error(`D1_ERROR: the answer has ${total} bytes`);
    return answer;
  };

  const wrap = (statement: D1PreparedStatement, asked: Asked): D1PreparedStatement => {
    const wrapped = new Proxy(statement, {
      get(target, name) {
        if (name === 'bind') return (...values: unknown[]) => wrap(target.bind(...values), { sql: asked.sql, values });
        const value = bound(target, name);
        return ASKING.has(name) ? (...args: unknown[]) => ask([asked], () => value(...args)) : value;
      },
    });
    real.set(wrapped, { statement, ...asked });
    return wrapped;
  };

  return new Proxy(db, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => wrap(target.prepare(sql), { sql, values: [] });
      if (name === 'batch')
        return (statements: D1PreparedStatement[]) => {
          const ours = statements.map((statement) => real.get(statement) ?? { statement, sql: '', values: [] });
          return ask(ours, () => target.batch(ours.map(({ statement }) => statement)));
        };
      return bound(target, name);
    },
  });
}

function bound(target: object, name: PropertyKey) {
  const value = Reflect.get(target, name);
  return typeof value === 'function' ? value.bind(target) : value;
}

/** `batch` answers a list of results, `raw` a list of rows, `all` and `run` one result. */
function rowsIn(answer: unknown): unknown[] {
  if (Array.isArray(answer)) return answer.flatMap((one) => (isResult(one) ? one.results : [one]));
  return isResult(answer) ? answer.results : [];
}
const isResult = (value: unknown): value is { results: unknown[] } =>
  typeof value === 'object' && value !== null && 'results' in value && Array.isArray(value.results);

const encoder = new TextEncoder();
function bytesOf(value: unknown): number {
  if (typeof value === 'string') return encoder.encode(value).byteLength;
  if (typeof value === 'object' && value !== null)
    return Object.values(value).reduce((sum, one) => sum + bytesOf(one), 0);
  return 8;
}
