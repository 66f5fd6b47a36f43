/** Makes keys that no store knows. A controller whose stores do not answer stores them unchecked. */
import { generateKeyPairSync } from 'node:crypto';

export const pem = (pair: { privateKey: { export(options: object): unknown } }) =>
  String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));

/** The JSON of a service account that Google does not know. */
export const serviceAccount = () =>
  JSON.stringify({
    ...{ type: 'service_account', client_email: 'robot@shop.iam.gserviceaccount.com', private_key_id: 'f00d' },
    private_key: pem(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  });
