/**
 * Runs before each test file: empties all storage, and migrates D1 as a deployment does. The files share a
 * runtime, because most of them take less time than its start.
 *
 * Invariant: no file sees what another has stored or has set in place of the real thing, and no alarm of
 * another file goes off.
 */
import { applyD1Migrations, reset } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { databaseFaults } from './factories/faulty-database.ts';
import { requests, uploads } from './factories/platform-limits.ts';
import { stepsOfTests } from './factories/steps-of-tests.ts';

databaseFaults.decide = null;
stepsOfTests.use = null;
stepsOfTests.addresses = null;
requests.length = 0;
uploads.length = 0;
await emptyStorage();
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);

/**
 * One `reset` in five leaves the database as it was. The next one has emptied it each time that we looked.
 */
async function emptyStorage(): Promise<void> {
  for (let resets = 0; resets < 10; resets++) {
    await reset();
    const left = await env.DB.prepare(
      "SELECT count(*) AS count FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'",
    ).first<{ count: number }>();
    if (left?.count === 0) return;
  }
  throw new Error('the database still has tables after ten times `reset`');
}
