/**
 * Empties all storage before each test file and migrates D1 as a deployment does. The files
 * share a runtime, because to start one takes longer than most of them; nothing that a file has stored or set
 * outlives it.
 */
import { applyD1Migrations, reset } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

await reset();
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
