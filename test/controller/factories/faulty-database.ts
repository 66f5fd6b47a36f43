/**
 * Wraps `env.DB` so that a call may fail before it does anything, or do its work and lose its answer. Only
 * the entries of the tests use it.
 *
 * Invariant: whether a call fails is decided once. Otherwise it does what the real database does.
 */
export type DatabaseFault = 'refused' | 'answer lost';

/** Asked at each call, with its statements. Null while no call should fail. */
export const databaseFaults: { decide: ((statements: readonly string[]) => DatabaseFault | undefined) | null } = {
  decide: null,
};

export const withFaultyDatabase = (env: Env): Env => ({ ...env, DB: faulty(env.DB) });

const ASKING = new Set<PropertyKey>(['run', 'all', 'raw', 'first']);
/** The real statement behind a wrapped one, because `batch` takes only real ones. */
const real = new WeakMap<D1PreparedStatement, { statement: D1PreparedStatement; sql: string }>();

function faulty(db: D1Database): D1Database {
  return new Proxy(db, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => wrap(target.prepare(sql), sql);
      if (name === 'batch')
        return (statements: D1PreparedStatement[]) => {
          const ours = statements.map((statement) => real.get(statement) ?? { statement, sql: '' });
          return ask(
            ours.map(({ sql }) => sql),
            () => target.batch(ours.map(({ statement }) => statement)),
          );
        };
      return bound(target, name);
    },
  });
}

function wrap(statement: D1PreparedStatement, sql: string): D1PreparedStatement {
  const wrapped = new Proxy(statement, {
    get(target, name) {
      if (name === 'bind') return (...values: unknown[]) => wrap(target.bind(...values), sql);
      const value = bound(target, name);
      return ASKING.has(name) ? (...args: unknown[]) => ask([sql], () => value(...args)) : value;
    },
  });
  real.set(wrapped, { statement, sql });
  return wrapped;
}

function bound(target: object, name: PropertyKey) {
  const value = Reflect.get(target, name);
  return typeof value === 'function' ? value.bind(target) : value;
}

async function ask<T>(statements: readonly string[], call: () => Promise<T>): Promise<T> {
  const fault = databaseFaults.decide?.(statements);
  if (fault === 'refused') throw new Error('D1_ERROR: a test refuses this call');
  const answer = await call();
  if (fault === 'answer lost') throw new Error('D1_ERROR: Network connection lost.');
  return answer;
}
