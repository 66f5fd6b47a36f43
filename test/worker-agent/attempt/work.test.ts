import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Connection } from '../../../client/request.ts';
import { WorkerClient } from '../../../client/worker-client.ts';
import { work } from '../../../worker-agent/attempt/work.ts';
import { parseConfig } from '../../../worker-agent/config.ts';
import { StateFolder } from '../../../worker-agent/state/state-folder.ts';
import { createContext } from '../../../worker-agent/steps/context.ts';
import { AGENT_LIMITS } from '../../../worker-agent/time-limits.ts';
import { anAssignment } from '../factories/assignment.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { standInController, WORKER_KEY } from '../servers/stand-in-controller.ts';

test('an attempt whose VM cannot be cloned ends the download of its source', async () => {
  using dir = temporaryDir();
  using scripted = scriptedTart({
    clone: 'until [ -e "$HOME_DIR/begun" ]; do sleep 0.05; done; echo "no space left" >&2; exit 1',
  });
  await using controller = await standInController();
  const downloadEnded = Promise.withResolvers<void>();
  controller.intercept = ({ path }, response) => {
    if (!path.endsWith('/source')) return false;
    response.writeHead(200).write('the first bytes of many');
    response.on('close', downloadEnded.resolve);
    writeFileSync(join(scripted.dir, 'begun'), '');
    return true;
  };
  const { requestMs, transferStallMs } = AGENT_LIMITS;
  const connection = new Connection({ url: controller.url, key: WORKER_KEY, requestMs, transferStallMs });
  const settings = { vmName: 'mac', vmUser: 'admin', vmSshKey: '/key', controllerUrl: controller.url };
  const config = parseConfig(JSON.stringify({ ...settings, apiKey: WORKER_KEY }), join(dir.path, 'config.json'));
  const image = { name: 'default', vm: 'mac-base-snapshot', digest: null, provisioned: null, hostKey: null };
  const assignment = anAssignment({ source: { sha256: 'a'.repeat(64), size: 1_000_000 } });
  const journal = await new StateFolder(dir.path).createAttempt(assignment, 'vm', image);
  const never = new AbortController().signal;
  await using context = createContext({
    ...{ config, tart: scripted.tart, workerClient: new WorkerClient(connection), limits: AGENT_LIMITS, journal },
    ...{ emit: () => {}, resumed: false, drain: never, stop: never, leave: never },
  });
  const { ending } = await work(context);
  expect(ending).toMatchObject({ kind: 'failed', step: 'clone' });
  await downloadEnded.promise;
});
