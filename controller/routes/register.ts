/**
 * Puts handlers behind the rows of the table of routes.
 *
 * Invariant: the authorisation of a row runs before every handler on its path, and a handler without a row
 * never runs.
 */
import type { Hono } from 'hono';
import { type CreateHandlersInterface, createMiddleware } from 'hono/factory';
import { matchedRoutes } from 'hono/route';
import type { H } from 'hono/types';
import type { Right } from '../access/rights.ts';
import { authorisationOf, type Found } from './authorise.ts';
import { ROUTES, type RouteKey, type Routes } from './route-table.ts';

/** The variables that the authorisation of a row sets. A handler that reads another one does not compile. */
type CallerOf<Row> = Row extends { right: Right }
  ? Pick<Found, 'key'>
  : Row extends { who: 'attempt' }
    ? Pick<Found, 'caller'>
    : object;
type FoundOf<Row> = Row extends { finds: 'key' }
  ? Pick<Found, 'namedKey'>
  : Row extends { finds: infer Kind extends keyof Found }
    ? Pick<Found, Kind>
    : object;
type EnvOf<Key extends RouteKey> = { Bindings: Env; Variables: CallerOf<Routes[Key]> & FoundOf<Routes[Key]> };
type PathOf<Key extends RouteKey> = Key extends `${string} ${infer Path}` ? Path : never;

/** `on('GET /api/me')(…)`: registers validators and a handler for the route of that row. */
export type On = <Key extends RouteKey>(key: Key) => CreateHandlersInterface<EnvOf<Key>, PathOf<Key>>;

/**
 * Installs the authorisation of all rows in `app`, before any handler, and returns the way to register
 * handlers.
 */
export function behindTable(app: Hono<{ Bindings: Env }>): On {
  app.use(onlyRows);
  for (const [key, row] of Object.entries(ROUTES)) {
    const [method, path] = split(key);
    app.on(method, path, authorisationOf(row));
  }
  return (key) => {
    const [method, path] = split(key);
    const register = (...handlers: H[]) => {
      app.on(method, [path], ...handlers);
      return handlers;
    };
    // `On` checks the handlers' types. Hono has no type for a list of any length.
    return register as never;
  };
}

/** Ends a request that no row matches, or that a handler without a row would answer. */
const onlyRows = createMiddleware(async (c, next) => {
  const handlers = matchedRoutes(c).filter(({ method }) => method !== 'ALL');
  const listed = handlers.length > 0 && handlers.every(({ method, path }) => `${method} ${path}` in ROUTES);
  return listed ? next() : c.notFound();
});

const split = (key: string) => key.split(' ') as [method: string, path: string];
