/** Serves the controller that test files share: the deployed one, whose stores do not answer. */
import { createController, StoreUpload as RealStoreUpload } from '../../../controller/index.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import type { StoreAddresses } from '../../../controller/stores/step.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../../../controller/index.ts';

const NOWHERE = 'http://127.0.0.1:9';
const stores: StoreAddresses = {
  ...{ appStoreConnect: NOWHERE, googleToken: NOWHERE, googlePlay: NOWHERE, insecure: true },
  uploadHosts: { apple: [], google: [] },
};

export class StoreUpload extends RealStoreUpload {
  protected override addresses = stores;
}

export default createController({ ...SETTINGS, stores });
