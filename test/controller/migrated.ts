/**
 * Runs before each test file: empties all storage, and migrates D1 as a deployment does. The files share a
 * runtime, because most of them take less time than its start.
 *
 * Invariant: no file sees what another has stored, and no alarm of another file goes off.
 */
import { applyD1Migrations, reset } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

await reset();
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
