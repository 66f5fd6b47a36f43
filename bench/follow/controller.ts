/**
 * Serves the controller for bench/follow.ts, and prints a line each time that the object of a log is made.
 */
import { BuildLog as DeployedLog } from '../../controller/index.ts';

export { BlobUpload, BuildDeadline, default, StoreUpload } from '../../controller/index.ts';

export class BuildLog extends DeployedLog {
  constructor(context: DurableObjectState, env: Env) {
    super(context, env);
    console.log(`log object made: ${context.id.name}`);
  }
}
