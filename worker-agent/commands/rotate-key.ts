/**
 * `expo-worker rotate-key`: renews the key of this worker in place, without any build noticing.
 *
 * The old key works for a day more, and a running agent takes the new one from the config within a minute.
 * The old key ends only once the new one has been used, which happens here after the new one is written.
 *
 * Invariant: the key in the config works, whatever is lost or fails on the way. The command may be repeated.
 */
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { changeConfig, loadConfig } from '../config.ts';
import { CommandError } from '../exit-codes.ts';
import { REQUEST_MS } from '../time-limits.ts';

export async function rotateKeyCommand({ config: path }: { config: string }): Promise<void> {
  const { controllerUrl, apiKey } = await loadConfig(path);
  const client = new WorkerClient(new Connection({ url: controllerUrl, key: apiKey, requestMs: REQUEST_MS }));
  const me = await client.me();
  if (!me.ok) throw new CommandError(`${controllerUrl}: ${me.message}`);
  const { keyId, workerId } = me.value;
  if (keyId === null)
    throw new CommandError(
      `The controller at ${controllerUrl} is too old to renew a worker's key. Update the controller`,
    );
  const rotated = await client.rotateKey(keyId);
  if (!rotated.ok) throw new CommandError(`${controllerUrl}: ${rotated.message}`);
  await changeConfig(path, { apiKey: rotated.value.secret });
  // This is the first use of the new key, after which the old one ends with its overlap. If no answer comes,
  // the agent's next call is the first use.
  client.connection.useKey(rotated.value.secret);
  await client.me();
  process.stdout.write(`Written: ${path}
Worker ${workerId} has a new key. The old key works for 24 hours more. A running agent uses the new one within a minute.
`);
}
