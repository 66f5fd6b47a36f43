/**
 * Exports every table in D1. Times are milliseconds since 1970. JSON columns hold the shapes of the contract.
 *
 * Invariant: a build costs a constant number of rows, however long it runs. Nothing here changes with each
 * beat.
 *
 * A module that writes to a table names it in its header. test/owners.test.ts holds the list.
 */
export * from './access.ts';
export * from './builds.ts';
export * from './files.ts';
export * from './links.ts';
export * from './outbox.ts';
export * from './projects.ts';
export * from './stores.ts';
export * from './workers.ts';
