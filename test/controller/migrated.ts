/**
 * Runs before each test file: empties all storage, and migrates D1 as a deployment does. The files share a
 * runtime, because most of them take less time than its start.
 *
 * Invariant: no file sees what another has stored or has set in place of the real thing, and no alarm of
 * another file goes off.
 */
import { emptyStorage } from './factories/empty-storage.ts';
import { databaseFaults } from './factories/faulty-database.ts';
import { requests, uploads } from './factories/platform-limits.ts';
import { stepsOfTests } from './factories/steps-of-tests.ts';

databaseFaults.decide = null;
stepsOfTests.use = null;
stepsOfTests.addresses = null;
requests.length = 0;
uploads.length = 0;
await emptyStorage();
