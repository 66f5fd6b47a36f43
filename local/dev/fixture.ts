/**
 * Names what you need to try the monitor by hand: a worker with a key, and a build that is always running.
 * dev/worker.ts writes them into one local database. The deployed controller does not have them.
 */
export const FIXTURE = { build: 'test-build-123', worker: 'test-worker-456', key: 'test-api-key' };
/**
 * The secret that the controller gets in place of the fixture's key, which does not have the form of a key.
 */
export const FIXTURE_SECRET = `tb_worker_${FIXTURE.key.padEnd(43, '-')}`;
/** Accepts POST with the admin key. */
export const FIXTURE_PATH = '/dev/fixture';
