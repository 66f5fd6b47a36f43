import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { Connection } from '../../../client/request.ts';
import { AttemptOver } from '../../../worker-agent/ending.ts';
import type { AttemptContext } from '../../../worker-agent/steps/context.ts';
import { ask } from '../../../worker-agent/steps/step.ts';

/** Asks for the inputs of a build at a controller that always gives this answer. */
async function endingOf(status: number, code: string) {
  await using server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code, message: 'the reason' } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new AttemptClient(new Connection({ url, key: 'tb_run_x' }));
  const { signal } = new AbortController();
  const context = { signal, limits: { outageMs: 1 } } as AttemptContext;
  const error = await ask(context, 'inputs', () => client.inputs('b1', signal)).catch((thrown: unknown) => thrown);
  if (!(error instanceof AttemptOver)) throw error;
  return error.ending;
}

test('a key that stays missing ends the attempt as a matter of the infrastructure, and inputs that are gone do not', async () => {
  expect(await endingOf(503, 'inputs_key_missing')).toMatchObject({
    ...{ verdict: 'transfer_failed', step: 'inputs', message: 'HTTP 503: the reason' },
  });
  expect(await endingOf(422, 'inputs_gone')).toMatchObject({ verdict: 'inputs_gone', message: 'the reason' });
  expect(await endingOf(410, 'attempt_ended')).toMatchObject({ kind: 'stopped' });
});
