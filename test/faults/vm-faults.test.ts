/** Tests faults of a VM while a build runs in it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultFarm } from './factories/fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

test.concurrent('a VM that freezes is vm_silent, cause vm_frozen', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('freeze');
  await build.fails({ verdict: 'vm_silent', cause: 'vm_frozen' });
  await mac.recovers();
});

test.concurrent('a VM that freezes for four seconds costs nothing', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
  await build.prints('begun');
  await mac.fault('short-freeze');
  await mac.until(async () => !(await mac.hasFault('short-freeze')), 'the VM goes on');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

test.concurrent('a Tart whose lists fail now and then, have no size of a disk, and whose delete lies, costs nothing', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
  await build.prints('begun');
  for (const fault of ['list-race', 'disk-null', 'delete-lies']) await mac.fault(fault);
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  await mac.recovers();
});

test.concurrent('a VM that crashes, so that tart exits with 0, is vm_exited', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('crash');
  await build.fails({ verdict: 'vm_exited', cause: 'vm_exited' });
  await build.logged('begun\n');
  await mac.recovers();
});

test.concurrent('a guest that shuts itself down is vm_exited', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sudo shutdown -h now; sleep 600' });
  await build.fails({ verdict: 'vm_exited', cause: 'vm_exited' });
  await mac.recovers();
});

test.concurrent('a tart run that is killed is vm_exited', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  mac.killTartRun(build.id);
  await build.fails({ verdict: 'vm_exited', cause: 'vm_exited' });
  await mac.recovers();
});

for (const fault of ['guest-reboot', 'guest-panic'])
  test.concurrent(`a guest that restarts below a living tart run (${fault}) is vm_exited, cause vm_restarted`, async () => {
    await using mac = await macs.take();
    const build = await mac.build({ command: 'echo begun; sleep 600' });
    await build.prints('begun');
    await mac.fault(`${fault}:2000`);
    await build.fails({ verdict: 'vm_exited', step: 'restart', cause: 'vm_restarted' });
    await build.logged('begun\n');
    await mac.recovers();
  });

test.concurrent('a build that restarts its guest is vm_exited, cause vm_restarted', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sudo shutdown -r now; sleep 600' });
  await build.fails({ verdict: 'vm_exited', step: 'restart', cause: 'vm_restarted' });
  await mac.recovers();
});

test.concurrent('a guest that restarts while the agent is away is vm_restarted when it comes back, and built again', async () => {
  await using mac = await macs.take();
  // The agent has the time to find out, however long it takes to start again.
  const timeouts = { heartbeatTimeoutMs: 60_000, workerTimeoutMs: 60_000 };
  const command = 'echo begun; [ "$TARTBEAT_ATTEMPT" = 2 ] || sleep 600';
  const build = await mac.build({ command, maxAttempts: 2, timeouts });
  await build.prints('begun');
  await mac.mac.killAgent();
  await mac.fault('guest-reboot:200');
  await mac.mac.startAgent();
  const { attempts } = await build.succeeds('begun\n');
  expect(attempts.map(({ verdict, cause }) => [verdict?.code, verdict?.step, cause?.code])).toEqual([
    ['vm_exited', 'restart', 'vm_restarted'],
    [undefined, undefined, undefined],
  ]);
  await mac.settles();
});

test.concurrent('a guest that restarts and never comes back is vm_silent, cause vm_frozen', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('dead-restart');
  await build.fails({ verdict: 'vm_silent', cause: 'vm_frozen' });
  await mac.recovers();
});

test.concurrent('a guest that restarts before the build runs in it loses nothing', async () => {
  await using farm = await FaultFarm.start({ macs: 1, diverted: true });
  await using mac = await farm.take();
  // The proxy holds the source, so that the command cannot begin before the guest has restarted.
  mac.ways.agent.treat(({ path }) => (path.endsWith('/source') ? 'answer nothing' : 'pass'));
  const build = await mac.build({ command: 'echo done', timeouts: { heartbeatTimeoutMs: 60_000 } });
  await mac.says('step', { step: 'source', status: 'started' });
  await mac.fault('guest-reboot:200');
  await mac.until(async () => !(await mac.hasFault('guest-reboot')), 'the guest has gone down');
  mac.treat('pass');
  await build.succeeds('done\n');
  await mac.settles();
});

test.concurrent('a command that the guest kills for want of memory is build_failed, cause out_of_memory', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('out-of-memory:sleep 600');
  await build.fails({ verdict: 'build_failed', cause: 'out_of_memory' });
  await mac.settles();
});

test.concurrent('a command that is killed is build_failed, without a cause', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; kill -KILL $$' });
  await build.fails({ verdict: 'build_failed', cause: null });
  await mac.settles();
});

test.concurrent('a monitor that is killed once is started again, and the build goes on', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
  await build.prints('begun');
  await mac.fault('monitor-kill:once');
  await mac.until(() => mac.warned('was started again (1 of 3)'), 'the monitor is started again');
  // Longer than heartbeatTimeout, so a silent VM would have failed by then.
  const before = (await build.read()).live?.vmBeatAt ?? '';
  await build.reaches(({ live }) => Date.parse(live?.vmBeatAt ?? '') > Date.parse(before) + 13_000, 'goes on beating');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

test.concurrent('a monitor that is killed again and again is vm_silent, cause monitor_died', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('monitor-kill');
  await build.fails({ verdict: 'vm_silent', cause: 'monitor_died' });
  await mac.recovers();
});

test.concurrent('a VM whose network is cut is vm_silent, cause vm_network_down', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('net-cut');
  await build.fails({ verdict: 'vm_silent', cause: 'vm_network_down' });
  await mac.recovers();
});

test.concurrent('a disk that fills up in mid-build is build_failed, cause disk_full', async () => {
  await using mac = await macs.take();
  const command = 'echo begun; while :; do echo more >>data || exit 1; sleep 0.2; done';
  const build = await mac.build({ command });
  await build.prints('begun');
  await mac.fault('disk-full');
  await build.fails({ verdict: 'build_failed', cause: 'disk_full' });
  await mac.settles();
});

test.concurrent('SSH that drops again and again is replaced; the build never notices, its log is complete', async () => {
  await using mac = await macs.take();
  const command = 'i=0; while [ ! -e go ]; do i=$((i+1)); echo line $i; sleep 0.1; done; echo $i >count';
  const build = await mac.build({ command, artifacts: ['count'] });
  await build.prints('line 3\n');
  for (let drop = 0; drop < 3; drop++) {
    const replaced = mac.warnings('SSH was replaced').length;
    await mac.fault('no-ssh');
    await mac.until(() => mac.sshIsRefused(), 'SSH is refused');
    await mac.clearFault('no-ssh');
    await mac.until(() => mac.warnings('SSH was replaced').length > replaced, 'SSH is replaced');
  }
  await mac.inSource(build.id, 'go');
  const { artifacts } = await build.succeeds();
  const count = Number(await build.artifact('count'));
  expect(artifacts.map(({ name }) => name)).toEqual(['count']);
  await build.logged(Array.from({ length: count }, (_, i) => `line ${i + 1}\n`).join(''));
  await mac.settles();
});

test.concurrent('SSH that hangs for a while costs nothing', async () => {
  await using mac = await macs.take();
  const command = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';
  const build = await mac.build({ command, timeouts: { heartbeatTimeoutMs: 40_000 } });
  await build.prints('begun');
  await mac.fault('ssh-hang');
  await mac.fault('no-ssh'); // drops the open connection; new ones hang once it is cleared
  await mac.until(() => mac.sshIsRefused(), 'SSH is refused');
  await mac.clearFault('no-ssh');
  await mac.inSource(build.id, 'go');
  await mac.until(() => mac.sshHangs(), 'SSH accepts and is silent');
  await mac.clearFault('ssh-hang');
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

test.concurrent('SSH that is gone for good while the VM beats is transfer_failed: ssh', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('no-ssh');
  await build.fails({ verdict: 'transfer_failed', step: 'ssh', cause: 'sshd_died' });
  await mac.recovers();
});

test.concurrent('a VM that lives without any network is vm_silent, cause vm_network_down, and not taken for frozen', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('net-gone');
  const { attempts } = await build.fails({ verdict: 'vm_silent', cause: 'vm_network_down' });
  expect(attempts[0]!.evidence).toMatchObject({ ssh: { answers: false }, secondWay: { answers: true } });
  await mac.recovers();
});

test.concurrent('without a guest agent a VM that has lost its network cannot be told from a frozen one', async () => {
  await using mac = await macs.take();
  mac.mac.faultNextClone('no-guest-agent');
  const build = await mac.build({ command: 'echo begun; sleep 600' });
  await build.prints('begun');
  await mac.fault('net-gone');
  const { attempts } = await build.fails({ verdict: 'vm_silent', cause: 'vm_frozen' });
  expect(attempts[0]!.evidence).toMatchObject({
    vm: 'running',
    ssh: { answers: false },
    secondWay: { answers: false },
  });
  await mac.recovers();
});
