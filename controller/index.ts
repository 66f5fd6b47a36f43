/** The deployed entry. What it is made of is in app.ts; a test's entry differs in `limits` alone (test/worker.ts). */
import { createApp } from './app.ts';
import { LIMITS, type Limits } from './limits.ts';
import { sweep } from './sweep.ts';

export { BlobUpload } from './blob-upload.ts';
export { BuildDeadline } from './build-deadline.ts';
export { BuildLog } from './build-log.ts';

export function createController(limits: Limits): ExportedHandler<Env> {
  const app = createApp(limits);
  return {
    fetch: app.fetch,
    scheduled: (_controller, env) => sweep(env, Date.now()),
  };
}

export default createController(LIMITS);
