/** Names wrangler's program, and the variables that keep it quiet. */
import path from 'node:path';
import { PROJECT_ROOT } from './project-root.ts';

export const WRANGLER = path.join(PROJECT_ROOT, 'node_modules/.bin/wrangler');

/** Makes wrangler ask no questions, send no telemetry and look for no updates. */
export const QUIET = {
  DO_NOT_TRACK: '1',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_NO_SKILLS_UPDATE_PROMPTS: 'true',
  X_LOCAL_EXPLORER: 'false',
  // Otherwise it writes the addresses of all requests to a store into a database of its own.
  X_LOCAL_OBSERVABILITY: 'false',
};
