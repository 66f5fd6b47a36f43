/**
 * Exports the contract between the controller and everything that talks to it, imported as `#contract`: every
 * message as a zod schema whose type has the same name, and the constants that both sides need.
 *
 * Invariant: the contract only grows. Nothing in it changes, because agents in the field are older than the
 * controller.
 *
 * Times are ISO 8601 UTC strings, names that end in `Ms` are milliseconds, sizes and offsets are bytes.
 */
export * from './clashing-paths.ts';
export * from './closed-lists.ts';
export { ArtifactName, asLine, Id, Sha256, SourcePath } from './fields.ts';
export * from './intervals.ts';
export { wordsOf } from './issue-words.ts';
export * from './lifetimes.ts';
export * from './looks-secret.ts';
export * from './messages/build-numbers.ts';
export * from './messages/build-request.ts';
export * from './messages/builds.ts';
export * from './messages/claim.ts';
export * from './messages/errors.ts';
export * from './messages/files.ts';
export * from './messages/heartbeat.ts';
export * from './messages/images.ts';
export * from './messages/keys.ts';
export * from './messages/links.ts';
export * from './messages/origin.ts';
export * from './messages/phase-history.ts';
export * from './messages/projects.ts';
export * from './messages/reports.ts';
export * from './messages/secrets.ts';
export * from './messages/workers.ts';
export * from './sizes.ts';
export * from './store-messages/store-keys.ts';
export * from './store-messages/submissions.ts';
export * from './timeouts.ts';
export * from './units.ts';
export { UNPRINTABLE } from './unprintable.ts';
export * from './version.ts';
