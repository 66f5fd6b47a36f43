/** Migrates D1 before each test file, as a deployment does. Each file has a D1 of its own. */
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
