/**
 * Lists every route: its method, its path, and its callers. One row is one route. authorise.ts turns a row
 * into its authorisation, and the test of the authorisation asks every row as every kind of caller.
 *
 * Invariant: a route without a row answers 404 to everybody.
 */
import type { AttemptCredential } from '../access/auth.ts';
import type { Right } from '../access/rights.ts';

/** A route is used with a key, with a credential of an attempt, or by anyone. */
export type Row = KeyRow | AttemptRow | { who: 'anyone' };

/** The kinds of thing that `:id` names. authorise.ts finds the project, pool and trust of each. */
export type Kind = 'build' | 'worker' | 'project' | 'key' | 'submission' | 'link';

export interface KeyRow {
  /** A key without this right gets 403, before anything is looked up. */
  right: Right;
  /**
   * The kind of thing that `:id` names. Authorisation reads the thing once, compares its project, pool and
   * trust with the rights of the key, and hands it to the handler. Without `finds`, the handler compares what
   * it finds in body and query.
   */
  finds?: Kind;
  /**
   * The status for a key that has the right and does not reach the thing. 404 is the answer for a thing that
   * does not exist, word for word. 403 is for rights that reach everything of their kind, or one thing alone.
   */
  others: 403 | 404;
  /** The key that `:id` names may use the route, too, whatever its rights. */
  orItself?: true;
}

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

  'GET /api/me': { right: 'self', others: 403 },
  'GET /api/audit': { right: 'admin', others: 404 },
  'POST /api/keys': { right: 'admin', others: 403 },
  'GET /api/keys': { right: 'admin', others: 404 },
  'DELETE /api/keys/:id': { right: 'admin', finds: 'key', others: 404 },
  'POST /api/keys/:id/rotate': { right: 'admin', finds: 'key', others: 404, orItself: true },

  'POST /api/builds': { right: 'builds.submit', others: 404 },
  'GET /api/builds': { right: 'builds.read', others: 404 },
  'GET /api/builds/:id': { right: 'builds.read', finds: 'build', others: 404 },
  'POST /api/builds/:id/cancel': { right: 'builds.submit', finds: 'build', others: 404 },
  'POST /api/builds/:id/retry': { right: 'builds.submit', finds: 'build', others: 404 },
  'GET /api/builds/:id/logs': { right: 'builds.files', finds: 'build', others: 404 },
  'GET /api/builds/:id/artifacts': { right: 'builds.files', finds: 'build', others: 404 },
  'GET /api/builds/:id/artifacts/:name{.+}': { right: 'builds.files', finds: 'build', others: 404 },
  // Not below the artifact, because an artifact may be called `Shop.ipa/icon`.
  'GET /api/builds/:id/icons/:name{.+}': { right: 'builds.files', finds: 'build', others: 404 },

  'POST /api/builds/:id/heartbeat': { who: 'attempt', by: ['vm', 'run', 'worker'] },
  'POST /api/builds/:id/reports': { who: 'attempt', by: ['run', 'worker'] },
  'PUT /api/builds/:id/logs': { who: 'attempt', by: ['run', 'worker'] },
  'GET /api/builds/:id/source': { who: 'attempt', by: ['run'] },
  'GET /api/builds/:id/inputs': { who: 'attempt', by: ['run'] },
  'POST /api/builds/:id/kept': { who: 'attempt', by: ['run', 'worker'] },
  'POST /api/builds/:id/number': { who: 'attempt', by: ['run'] },

  'POST /api/builds/:id/submissions': { right: 'stores', finds: 'build', others: 404 },
  'GET /api/builds/:id/submissions': { right: 'builds.read', finds: 'build', others: 404 },
  'GET /api/projects/:id/submissions': { right: 'builds.read', finds: 'project', others: 404 },
  'GET /api/submissions/:id': { right: 'builds.read', finds: 'submission', others: 404 },
  'POST /api/submissions/:id/cancel': { right: 'stores', finds: 'submission', others: 404 },

  'POST /api/builds/:id/links': { right: 'links', finds: 'build', others: 404 },
  'GET /api/builds/:id/links': { right: 'links', finds: 'build', others: 404 },
  'GET /api/projects/:id/links': { right: 'links', finds: 'project', others: 404 },
  'DELETE /api/links/:id': { right: 'links', finds: 'link', others: 404 },

  // The token is the credential. The controller finds it by its hash.
  'GET /i/:token': { who: 'anyone' },
  'GET /i/:token/manifest.plist': { who: 'anyone' },
  'GET /i/:token/icon': { who: 'anyone' },
  'GET /i/:token/file/:name': { who: 'anyone' },

  'GET /api/projects/:id/secrets': { right: 'secrets.list', finds: 'project', others: 404 },
  'PUT /api/projects/:id/secrets/:name': { right: 'secrets.set', finds: 'project', others: 404 },
  'DELETE /api/projects/:id/secrets/:name': { right: 'secrets.set', finds: 'project', others: 404 },

  'GET /api/projects/:id/store-keys': { right: 'stores.list', finds: 'project', others: 404 },
  'PUT /api/projects/:id/store-keys/:name': { right: 'admin', finds: 'project', others: 404 },
  'DELETE /api/projects/:id/store-keys/:name': { right: 'admin', finds: 'project', others: 404 },

  'GET /api/projects/:id/build-cache': { right: 'builds.files', finds: 'project', others: 404 },

  'GET /api/projects/:id/numbers': { right: 'builds.read', finds: 'project', others: 404 },
  'PUT /api/projects/:id/numbers/:platform/:appId': { right: 'numbers', finds: 'project', others: 404 },

  'PUT /api/builds/:id/blobs/:sha256': { who: 'attempt', by: ['run'] },
  'GET /api/builds/:id/blobs/:sha256': { who: 'attempt', by: ['run'] },
  'POST /api/builds/:id/blobs/:sha256/uploads': { who: 'attempt', by: ['run'] },
  'PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part': { who: 'attempt', by: ['run'] },
  'POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete': { who: 'attempt', by: ['run'] },
  'GET /api/builds/:id/blobs/:sha256/uploads/:upload': { who: 'attempt', by: ['run'] },
  'DELETE /api/builds/:id/blobs/:sha256/uploads/:upload': { who: 'attempt', by: ['run'] },

  'PUT /api/blobs/:sha256': { right: 'blobs', others: 404 },
  'GET /api/blobs/:sha256': { right: 'blobs', others: 404 },
  'POST /api/blobs/:sha256/uploads': { right: 'blobs', others: 404 },
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part': { right: 'blobs', others: 404 },
  'POST /api/blobs/:sha256/uploads/:upload/complete': { right: 'blobs', others: 404 },
  'GET /api/blobs/:sha256/uploads/:upload': { right: 'blobs', others: 404 },
  'DELETE /api/blobs/:sha256/uploads/:upload': { right: 'blobs', others: 404 },

  'GET /api/projects': { right: 'builds.read', others: 404 },
  'POST /api/projects': { right: 'farm', others: 403 },
  'GET /api/projects/:id': { right: 'builds.read', finds: 'project', others: 404 },
  'PATCH /api/projects/:id': { right: 'farm', finds: 'project', others: 404 },
  'DELETE /api/projects/:id': { right: 'farm', finds: 'project', others: 404 },
  'GET /api/pools': { right: 'farm', others: 403 },
  'PATCH /api/pools/:pool': { right: 'farm', others: 403 },
  'GET /api/pools/:pool/images': { right: 'farm', others: 403 },
  'PUT /api/pools/:pool/images/:name': { right: 'farm', others: 403 },
  'DELETE /api/pools/:pool/images/:name': { right: 'farm', others: 403 },

  'POST /api/workers': { right: 'farm', others: 403 },
  'GET /api/workers': { right: 'farm', others: 403 },
  'GET /api/workers/:id': { right: 'farm', finds: 'worker', others: 404 },
  'PATCH /api/workers/:id': { right: 'farm', finds: 'worker', others: 404 },
  'DELETE /api/workers/:id': { right: 'farm', finds: 'worker', others: 404 },
  'POST /api/workers/:id/enrolments': { right: 'farm', finds: 'worker', others: 404 },

  // Needs no key, because the one-time code in the body is the credential.
  'POST /api/workers/enrol': { who: 'anyone' },
  'POST /api/workers/:id/claim': { right: 'worker', finds: 'worker', others: 404 },
  'GET /api/workers/:id/attempts': { right: 'worker', finds: 'worker', others: 404 },
  'GET /api/workers/:id/durations': { right: 'worker', finds: 'worker', others: 404 },
  'POST /api/workers/:id/findings': { right: 'worker', finds: 'worker', others: 404 },
  'POST /api/workers/:id/status': { right: 'worker', finds: 'worker', others: 404 },
} as const satisfies Record<`${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`, Row>;

export type Routes = typeof ROUTES;
export type RouteKey = keyof Routes;
