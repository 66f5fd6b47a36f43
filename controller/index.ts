/**
 * Exports what is deployed: the app, the cron, and the Durable Objects. A test's entry has other settings.
 */
import { createApp } from './app.ts';
import { SETTINGS, type Settings } from './settings.ts';
import { sweep } from './upkeep/sweep.ts';

export { BuildDeadline } from './attempts/build-deadline.ts';
export { BuildLog } from './build-log/build-log.ts';
export { BlobUpload } from './files/blob-upload.ts';
export { StoreUpload } from './submissions/store-upload.ts';

export function createController(settings: Settings): ExportedHandler<Env> {
  const app = createApp(settings);
  return {
    fetch: app.fetch,
    scheduled: (_controller, env) => sweep(env, Date.now()),
  };
}

export default createController(SETTINGS);
