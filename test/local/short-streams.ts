/** Serves a controller whose streams last seconds, so that a test sees them reach their bound. */
import { createController } from '../../controller/index.ts';
import { SETTINGS } from '../../controller/settings.ts';

export { BlobUpload, BuildDeadline, BuildLog, StoreUpload } from '../../controller/index.ts';

export default createController({
  ...SETTINGS,
  follow: { ...SETTINGS.follow, streamMaxMs: 3_000, queuePauseMaxMs: 500, lastBytesMs: 1_000 },
});
