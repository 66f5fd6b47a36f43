/**
 * What the monitor's hand test needs: a worker with a key, and a build that is always running. dev-worker.ts writes it into one local
 * database; the deployed controller knows nothing of it.
 */
export const FIXTURE = { build: 'test-build-123', worker: 'test-worker-456', key: 'test-api-key' };
/** To be asked with POST and the admin key. */
export const FIXTURE_PATH = '/dev/fixture';
