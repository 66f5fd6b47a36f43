/**
 * `expo-worker rotate-key`: renews this worker's key in place. The old one works for a day more, and a running agent takes the new one
 * from the config within a minute: no build notices. The old key ends only once the new one was used, which happens here after it is
 * written: whatever is lost or fails on the way, the key in the config is good, and this may be run again.
 */

import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { changeConfig, loadConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';

const CONTROLLER_MS = 10_000;

export async function rotateKeyCommand({ config: path }: { config: string }): Promise<void> {
  const { controllerUrl, apiKey } = await loadConfig(path);
  const limits = { requestMs: CONTROLLER_MS, transferStallMs: CONTROLLER_MS };
  const client = new WorkerClient(new Connection({ url: controllerUrl, key: apiKey, ...limits }));
  const me = await client.me();
  if (!me.ok) throw new CommandError(`${controllerUrl}: ${me.message}`);
  const { keyId, workerId } = me.value;
  if (keyId === null) throw new CommandError(`${controllerUrl} is too old to renew a key that asks for it; update it`);
  const rotated = await client.rotateKey(keyId);
  if (!rotated.ok) throw new CommandError(`${controllerUrl}: ${rotated.message}`);
  await changeConfig(path, { apiKey: rotated.value.secret });
  // Its first use, from which on the old one ends with its overlap. If this gets no answer, the agent's next call is the first.
  client.connection.useKey(rotated.value.secret);
  await client.me();
  process.stdout.write(`Written: ${path}
The key of worker ${workerId} is new. The old one works for 24 hours more; a running agent changes over within a minute.
`);
}
