import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { z } from 'zod';
import { testWith } from '../set-up/test-with.ts';
import { SHELLS } from './factories/guest-script.ts';
import { STEPS, type StandInMac, standInMac } from './factories/stand-in-mac.ts';

const Report = z.strictObject({
  macos: z.string(),
  checks: z.array(
    z.strictObject({
      id: z.string().regex(/^[a-z_]+$/),
      title: z.string().min(1),
      status: z.enum(['pass', 'fail', 'skipped']),
      detail: z.string().min(1),
      fix: z.string().min(1).nullable(),
    }),
  ),
  ok: z.boolean(),
});

/** The checks without a step in provision/. The steps have tests of their own. */
const OTHERS = ['packet_filter', 'disk_space', 'controller', 'worker_key', 'monitor_running'];
const ONLY_OTHERS = OTHERS.flatMap((id) => ['--only', id]);
const KEY = 'tb_worker_secret-of-this-test';

type GuestOptions = Parameters<StandInMac['guest']>[2];
async function verify(mac: StandInMac, args: string[] = [], options: GuestOptions = {}, only = ONLY_OTHERS) {
  const { status, stdout, stderr } = await mac.guest('verify.sh', ['--json', ...only, ...args], options);
  const report = Report.parse(JSON.parse(stdout));
  const find = (id: string) => report.checks.find((check) => check.id === id)!;
  return { status, stderr, report, find };
}

/** A controller that knows one worker's key. */
async function controller() {
  const server = createServer((request, response) => {
    const answer = (status: number, body: object) => response.writeHead(status).end(JSON.stringify(body, null, 1));
    if (request.url === '/health') return answer(200, { status: 'ok', time: new Date().toISOString() });
    if (request.url === '/portal/health') return answer(200, { hello: 'please log in' });
    if (request.url !== '/api/me') return answer(404, {});
    const key = request.headers['x-api-key'];
    if (key === KEY) return answer(200, { scope: 'worker', name: 'mini', workerId: 'w_1' });
    if (key === 'tb_submit_x') return answer(200, { scope: 'submit', name: 'ci', workerId: null });
    return answer(401, { error: { code: 'unauthorized' } });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, [Symbol.asyncDispose]: async () => void server.close() };
}

for (const shell of SHELLS) {
  const declare = testWith(shell);
  const holds = (sentence: string, check: () => Promise<void>) => declare(`${shell}: ${sentence}`, check);

  holds('reports every step and every further check once, in JSON and for people, and changes nothing', async () => {
    using mac = standInMac(shell);
    const before = mac.contents();
    const { status, stdout } = await mac.guest('verify.sh', ['--json']);
    const report = Report.parse(JSON.parse(stdout));
    expect([status, report.ok, report.macos]).toEqual([1, false, '26.6']);
    expect(report.checks.map(({ id }) => id)).toEqual([
      ...STEPS.map((name) => name.slice(3, -3).replaceAll('-', '_')),
      ...OTHERS,
    ]);
    for (const { status, fix } of report.checks) expect(fix !== null).toBe(status === 'fail');
    expect(report.checks.find(({ id }) => id === 'power')).toMatchObject({
      status: 'fail',
      title: 'Sleep and display sleep are off',
      fix: expect.stringContaining('--only power'),
    });

    const spoken = await mac.guest('verify.sh', [...ONLY_OTHERS, '--only', 'power', '--skip', 'power']);
    expect(spoken.status).toBe(0);
    expect(spoken.stdout).toMatch(/^skipped +power +as asked$/m);
    expect(spoken.stdout).toMatch(/^This VM is fit\.$/m);
    expect(mac.calls()).toEqual([]);
    expect(mac.contents()).toEqual(before);
  });

  holds('runs without root, and says what it could not look at', async () => {
    using mac = standInMac(shell);
    const { status, find } = await verify(mac, [], { user: 'admin' });
    expect(status).toBe(0);
    expect(find('packet_filter')).toMatchObject({ status: 'skipped', detail: 'pfctl needs root to answer' });
    const alone = await mac.guest('provision/36-time-sync.sh', ['--check'], { user: 'admin' });
    expect([alone.status, alone.stdout.split(':')[0]]).toEqual([3, 'unknown']);
  });

  holds('says what the packet filter does with SSH', async () => {
    using mac = standInMac(shell);
    for (const [rules, status] of [
      ['pass in all flags S/SA', 'pass'],
      ['block drop in proto tcp from any to any port = 22', 'fail'],
      ['block drop in all\npass in quick proto tcp from any to any port = 22 flags S/SA', 'pass'],
      ['block drop in quick proto tcp from any to any port = ssh\npass in all', 'fail'],
      ['pass in all\nblock drop all', 'fail'],
      ['block drop out proto tcp from any to any port = 22', 'pass'],
      ['block drop in proto udp from any to any port = 22', 'pass'],
      ['block drop in proto tcp from any to any port = 80', 'pass'],
      ['block drop in on lo0 all', 'pass'],
    ] as const) {
      mac.remember('pf-rules', rules);
      expect((await verify(mac, [], {}, ['--only', 'packet_filter'])).find('packet_filter').status, rules).toBe(status);
    }
  });

  holds('finds a full disk, an old curl, and a monitor that does not run in a build', async () => {
    using mac = standInMac(shell);
    mac.remember('free-kb', '14000000');
    const { status, find } = await verify(mac, ['--in-build']);
    expect(status).toBe(1);
    expect(find('disk_space')).toMatchObject({ status: 'fail', detail: '14 GB free, 15 GB needed' });
    expect(find('monitor_running')).toMatchObject({ status: 'fail', detail: 'no monitor runs' });
    mac.remember('monitor-process', '  731 /bin/sh /usr/local/bin/vm-monitor.sh https://builds.example.com b w - 30');
    mac.remember('free-kb', 'rubbish');
    const second = await verify(mac, ['--in-build']);
    expect(second.find('monitor_running')).toMatchObject({ status: 'pass', detail: 'process 731' });
    expect(second.find('disk_space').detail).toBe('df printed no figures');
    mac.remember('curl-version', '7.64.1');
    const curl = await mac.guest('provision/22-curl.sh', ['--check']);
    expect(curl.stdout).toContain('missing: curl 7.64.1 is older than 7.75');
  });

  holds('asks whether the controller is reachable and whether key and worker belong together', async () => {
    using mac = standInMac(shell);
    await using server = await controller();
    const ask = (worker: string, key: string) =>
      verify(mac, ['--controller', `${server.url}/`, '--worker', worker, '--key', '-'], { input: `${key}\n` }, [
        '--only',
        'controller',
        '--only',
        'worker_key',
      ]);

    const right = await ask('w_1', KEY);
    expect(right.find('controller')).toMatchObject({ status: 'pass', detail: server.url });
    expect(right.find('worker_key')).toMatchObject({ status: 'pass', detail: 'the key is that of worker w_1' });
    expect((await ask('w_2', KEY)).find('worker_key').detail).toBe('the key belongs to another worker than w_2');
    expect((await ask('w_1', 'tb_submit_x')).find('worker_key').detail).toBe('the key is not a key of a worker');
    const unknown = await ask('w_1', 'tb_worker_other');
    expect(unknown.find('worker_key').detail).toContain('does not know this key');
    expect(unknown.status).toBe(1);
    expect(JSON.stringify(unknown)).not.toContain('tb_worker_other');

    const portal = await verify(mac, ['--controller', `${server.url}/portal`]);
    expect(portal.find('controller').detail).toContain('something else than a controller');
    const missing = await verify(mac, ['--controller', `${server.url}/nowhere`]);
    expect(missing.find('controller').detail).toContain('answered 404');
    const nobody = await verify(mac, ['--controller', 'http://127.0.0.1:1']);
    expect(nobody.find('controller')).toMatchObject({ status: 'fail', detail: expect.stringContaining('127.0.0.1') });
  });

  holds('refuses wrong arguments', async () => {
    using mac = standInMac(shell);
    for (const [args, message] of [
      [['--key', KEY], '--key must be -'],
      [['--worker', 'w_1'], '--worker needs --controller'],
      [['--worker', 'w"1'], '--worker must consist of'],
      [['--controller', 'ftp://x'], 'http:// or https://'],
      [['--skip'], '--skip needs a value'],
      [['now'], "unknown option 'now'"],
    ] as const) {
      const { status, stderr, stdout } = await mac.guest('verify.sh', [...args]);
      expect([status, stdout]).toEqual([64, '']);
      expect(stderr).toContain(message);
    }
  });
}
