import { defineConfig } from 'drizzle-kit';

export default defineConfig({ dialect: 'sqlite', schema: './controller/schema/index.ts', out: './migrations' });
