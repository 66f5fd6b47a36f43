/** A controller whose stores do not answer, and a key that it stores unchecked for that reason. */
import { generateKeyPairSync } from 'node:crypto';
import type { StoreAddresses } from '../../../controller/stores/step.ts';

const NOWHERE = 'http://127.0.0.1:9';
const STORES: StoreAddresses = {
  ...{ appStoreConnect: NOWHERE, googleToken: NOWHERE, googlePlay: NOWHERE, insecure: true },
  uploadHosts: { apple: [], google: [] },
};

/** For startController. */
export const SILENT_STORES = {
  entry: 'test/faults/factories/controller.ts',
  vars: { STAND_INS: JSON.stringify(STORES) },
};

export const pem = (pair: { privateKey: { export(options: object): unknown } }) =>
  String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));

/** The JSON of a service account that Google does not know. */
export const serviceAccount = () =>
  JSON.stringify({
    ...{ type: 'service_account', client_email: 'robot@shop.iam.gserviceaccount.com', private_key_id: 'f00d' },
    private_key: pem(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  });
