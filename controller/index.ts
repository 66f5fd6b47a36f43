/** The deployed entry. What it is made of is in app.ts; a test's entry differs in `limits` alone (test/worker.ts). */
import { createApp } from './app.ts';
import { LIMITS, type Limits } from './settings.ts';
import { sweep } from './upkeep/sweep.ts';

export { BuildDeadline } from './attempts/build-deadline.ts';
export { BuildLog } from './build-log/build-log.ts';
export { BlobUpload } from './files/blob-upload.ts';

export function createController(limits: Limits): ExportedHandler<Env> {
  const app = createApp(limits);
  return {
    fetch: app.fetch,
    scheduled: (_controller, env) => sweep(env, Date.now()),
  };
}

export default createController(LIMITS);
