/** The controller as the fault tests run it: deadlines of seconds, and Macs that ask for work without filling a small machine with it. */

import { TIMEOUT_MINIMA } from '#contract';
import { createController } from '../../controller/index.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../../controller/index.ts';

export default createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 10_000,
  pollMs: 500,
});
