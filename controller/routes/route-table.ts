/**
 * Lists every route: its method, its path, and who may use it. One row is one route. authorise.ts turns a row
 * into its authorisation, and the test of the authorisation asks every row as every kind of caller.
 *
 * Invariant: a route without a row answers 404 to everybody.
 */
import type { AttemptCredential } from '../access/auth.ts';

/** A route is used with a key, with a credential of an attempt, or by anyone. */
export type Row = KeyRow | AttemptRow | { who: 'anyone' };

interface KeyRow {
  who: KeyWho;
  /**
   * What `:id` of the path names. Authorisation reads it once and hands it to the handler. Who may not see it
   * gets the same 404 as for one that does not exist.
   */
  finds?: 'build' | 'worker';
}

export type KeyWho =
  | 'any key'
  | 'admin'
  /** A submitter, or an admin. */
  | 'submitter'
  /** A submitter, an admin or a worker: submitters upload sources, workers artifacts. */
  | 'blob writer'
  /** The worker that `:id` names. */
  | 'this worker'
  /** An admin, or the key that `:id` names. */
  | 'admin or this key';

interface AttemptRow {
  who: 'attempt';
  /**
   * The credentials that open the route. A token must be of the build that `:id` names. A worker's key may be
   * of any worker here; attempts/writers.ts then asks whose attempt it is.
   */
  by: readonly AttemptCredential[];
}

export const ROUTES = {
  'GET /health': { who: 'anyone' },

  'GET /api/me': { who: 'any key' },
  'GET /api/audit': { who: 'admin' },
  'POST /api/keys': { who: 'admin' },
  'GET /api/keys': { who: 'admin' },
  'DELETE /api/keys/:id': { who: 'admin' },
  'POST /api/keys/:id/rotate': { who: 'admin or this key' },

  'POST /api/builds': { who: 'submitter' },
  'GET /api/builds': { who: 'submitter' },
  'GET /api/builds/:id': { who: 'submitter', finds: 'build' },
  'POST /api/builds/:id/cancel': { who: 'submitter', finds: 'build' },
  'POST /api/builds/:id/retry': { who: 'submitter', finds: 'build' },
  'GET /api/builds/:id/logs': { who: 'submitter', finds: 'build' },
  'GET /api/builds/:id/artifacts': { who: 'submitter', finds: 'build' },
  'GET /api/builds/:id/artifacts/:name{.+}': { who: 'submitter', finds: 'build' },

  'POST /api/builds/:id/heartbeat': { who: 'attempt', by: ['vm', 'run', 'worker'] },
  'POST /api/builds/:id/reports': { who: 'attempt', by: ['run', 'worker'] },
  'PUT /api/builds/:id/logs': { who: 'attempt', by: ['run', 'worker'] },
  'GET /api/builds/:id/source': { who: 'attempt', by: ['run'] },
  'GET /api/builds/:id/inputs': { who: 'attempt', by: ['run'] },

  'PUT /api/blobs/:sha256': { who: 'blob writer' },
  'GET /api/blobs/:sha256': { who: 'blob writer' },
  'POST /api/blobs/:sha256/uploads': { who: 'blob writer' },
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part': { who: 'blob writer' },
  'POST /api/blobs/:sha256/uploads/:upload/complete': { who: 'blob writer' },
  'GET /api/blobs/:sha256/uploads/:upload': { who: 'blob writer' },
  'DELETE /api/blobs/:sha256/uploads/:upload': { who: 'blob writer' },

  'POST /api/workers': { who: 'admin' },
  'GET /api/workers': { who: 'admin' },
  'GET /api/workers/:id': { who: 'admin', finds: 'worker' },
  'PATCH /api/workers/:id': { who: 'admin', finds: 'worker' },
  'DELETE /api/workers/:id': { who: 'admin', finds: 'worker' },
  'POST /api/workers/:id/enrolments': { who: 'admin', finds: 'worker' },

  // Needs no key, because the one-time code in the body is the credential.
  'POST /api/workers/enrol': { who: 'anyone' },
  'POST /api/workers/:id/claim': { who: 'this worker', finds: 'worker' },
  'GET /api/workers/:id/attempts': { who: 'this worker', finds: 'worker' },
  'GET /api/workers/:id/durations': { who: 'this worker', finds: 'worker' },
  'POST /api/workers/:id/findings': { who: 'this worker', finds: 'worker' },
  'POST /api/workers/:id/status': { who: 'this worker', finds: 'worker' },
} as const satisfies Record<`${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`, Row>;

export type Routes = typeof ROUTES;
export type RouteKey = keyof Routes;
