/** Runs wrangler on this project. */
import path from 'node:path';
import { execa } from 'execa';
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
  // It would write the addresses of all requests to a store into a database of its own.
  X_LOCAL_OBSERVABILITY: 'false',
};

export interface WranglerOptions {
  env?: Record<string, string> | undefined;
  signal?: AbortSignal | undefined;
  /** Default 60 s. */
  timeoutMs?: number | undefined;
}

/** Runs one wrangler command. Throws with its output if it fails. */
export const wrangler = (args: string[], { env, signal, timeoutMs = 60_000 }: WranglerOptions = {}) =>
  execa(WRANGLER, [...args, '-c', 'wrangler.toml'], {
    cwd: PROJECT_ROOT,
    env: { ...QUIET, ...env },
    cancelSignal: signal,
    stdin: 'ignore',
    timeout: timeoutMs,
    all: true,
  });
