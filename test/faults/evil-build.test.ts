/**
 * Runs a hostile build in a VM of the simulator against the real controller, and checks the result of each
 * thing that it tries.
 *
 * The simulator does not separate its VMs from this machine, and shows the processes of both. So the build
 * looks only where a VM's own programs would.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { iosFiles, ipa, zip } from '../worker-agent/app-metadata/app-files.ts';
import { FaultFarm } from './factories/fault-farm.ts';
import { contentOf, filesBelow } from './factories/files-below.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const glob = (pattern: string) => ArtifactGlob.parse({ glob: pattern, required: false });

/** In the guest: prints `name=status` of a request that gives up after 10 s; 000 is no answer at all. */
const ASK = `ask() { name=$1; shift; printf '%s=%s\\n' "$name" "$(curl -q -s -o /dev/null --max-time 10 -w '%{http_code}' "$@")"; }
controller=http://192.168.64.1:$PORT
`;

test.concurrent('it finds no token: in no argument, environment, file or log of its VM; and the run token is not there at all', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: `echo begun; while [ ! -e go ]; do sleep 0.2; done
# Several beats pass under its eyes: curl comes and goes.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
  for p in $(grep -lzxF "TARTBEAT_ROOT=$TARTBEAT_ROOT" /proc/[0-9]*/environ 2>/dev/null); do
    grep -azohE 'tb_(vm|run|worker)_[A-Za-z0-9]' "$p" "\${p%environ}cmdline" 2>/dev/null
  done
done
ps axeww | grep -F "$TARTBEAT_ROOT" | grep -E 'tb_(vm|run|worker)_[A-Za-z0-9]'
grep -rIE 'tb_(vm|run|worker)_[A-Za-z0-9]' "$HOME" "$TMPDIR" "$TARTBEAT_ROOT/tmp" "$TARTBEAT_ROOT/usr/local" "$TARTBEAT_ROOT/etc" --exclude-dir=source 2>/dev/null
echo looked`,
  });
  await build.prints('begun');
  const { tokens } = mac.journal(build.id).assignment;
  expect([tokens.vm, tokens.run]).toEqual([expect.stringMatching(/^tb_vm_./), expect.stringMatching(/^tb_run_./)]);
  // No file on the guest's disk has one of the tokens either.
  const guest = join(mac.mac.tartHome, 'vms', await mac.vmName(), 'guest');
  const holding = filesBelow(guest).filter((path) =>
    [tokens.vm, tokens.run].some((token) => contentOf(path).includes(token)),
  );
  expect(holding).toEqual([]);
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\nlooked\n');
  await mac.settles();
});

test.concurrent('what its VM token is good for: beats of its own attempt while that runs, and nothing else', async () => {
  await using mac = await macs.take();
  await using other = await macs.take();
  const victim = await other.build({ command: 'echo mine; while [ ! -e go ]; do sleep 0.2; done' });
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done' });
  await victim.prints('mine');
  await build.prints('begun');
  const { tokens, workerId } = mac.journal(build.id).assignment;
  const otherWorker = other.journal(victim.id).assignment.workerId;
  // Assume that the build has read the token from the monitor's memory, which a program of the same account
  // may be able to do.
  const ask = (method: string, path: string, body?: string, token = tokens.vm) =>
    request(mac.farm.controller.url, method, path, token, body);
  const beat = (id: string, worker: string, body: object) =>
    ask('POST', `/api/builds/${id}/heartbeat?worker_id=${worker}`, JSON.stringify(body));

  expect(await beat(build.id, workerId, { progress: 1, attempt: 1 })).toBe(200);
  // A heartbeat for another build, with each name that the build could send.
  const before = (await victim.read()).live;
  for (const [id, worker, body] of [
    [victim.id, otherWorker, { progress: 99, phase: 'forged' }],
    [victim.id, workerId, { progress: 99, phase: 'forged' }],
    [build.id, otherWorker, { progress: 99, phase: 'forged' }],
  ] as const)
    expect([403, 409], JSON.stringify([id, worker, body])).toContain(await beat(id, worker, body));
  expect((await victim.read()).live?.phase).toBe(before?.phase);
  // Logs and artifacts of another build and its own, reports, and all other paths.
  const sha256 = 'a'.repeat(64);
  for (const id of [victim.id, build.id])
    for (const [method, path, body] of [
      ['PUT', `/api/builds/${id}/logs?attempt=1&offset=0`, 'forged'],
      [
        'POST',
        `/api/builds/${id}/reports`,
        JSON.stringify({
          type: 'succeed',
          attempt: 1,
          artifacts: [{ name: 'x', sha256, size: 1 }],
          log: { length: 0 },
        }),
      ],
      ['GET', `/api/builds/${id}/source`],
      ['GET', `/api/builds/${id}/inputs`],
      ['GET', `/api/builds/${id}`],
      ['GET', `/api/builds/${id}/logs`],
      ['POST', `/api/builds/${id}/cancel`, '{}'],
      ['POST', `/api/builds/${id}/retry`, '{}'],
    ] as const)
      expect([401, 403], `${method} ${path}`).toContain(await ask(method, path, body));
  for (const [method, path, body] of [
    ['PUT', `/api/blobs/${sha256}`, 'x'],
    ['POST', '/api/builds', '{}'],
    ['GET', '/api/builds'],
    ['GET', '/api/workers'],
    ['POST', `/api/workers/${workerId}/claim`, '{"claimId":"c"}'],
    ['POST', '/api/keys', '{}'],
  ] as const)
    expect([401, 403], `${method} ${path}`).toContain(await ask(method, path, body));
  // The controller refuses a token that was changed.
  expect(
    await ask(
      'POST',
      `/api/builds/${victim.id}/heartbeat?worker_id=${otherWorker}`,
      '{}',
      `${tokens.vm.replaceAll(build.id, victim.id)}A`,
    ),
  ).toBe(401);

  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\n');
  // After the verdict the controller refuses the token.
  expect(await beat(build.id, workerId, { progress: 2, attempt: 1 })).toBe(410);
  await other.inSource(victim.id, 'go');
  await victim.succeeds('mine\n');
  await mac.settles();
  await other.settles();
});

test.concurrent('artifacts that would lead out of it do not, whatever they are called', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: `mkdir -p out "out/..%2f..%2f" 'out/<img src=x onerror=alert(1)>' "out/\\$(touch pwned)"
ln -s "$HOME/.ssh/authorized_keys" out/keys; ln -s / out/root; ln -s ../../../../etc/passwd out/passwd
mkfifo out/pipe; echo a >"out/..%2f..%2f/a"; echo b >'out/<img src=x onerror=alert(1)>/b'; echo c >"out/\\$(touch pwned)/c"
echo e >'out/-rf'; echo secret >"$HOME/outside.txt"; ln "$HOME/outside.txt" out/hard
base64 -d >'out/million.ipa' <<END
${zip({ 'Payload/Shop.app/Info.plist': '' }, { entries: 1_000_000 }).toString('base64')}
END
base64 -d >'out/turned.ipa' <<END
${ipa(iosFiles({ info: { CFBundleIdentifier: '../../x', CFBundleName: '\u202eapi.\u0007\nShop' } })).toString('base64')}
END
echo made`,
    artifacts: [glob('out/**'), glob('**/outside.txt')],
  });
  const ended = await build.succeeds('made\n');
  const names = ended.artifacts.map(({ name }) => name).sort();
  // The agent does not follow links and does not take pipes. A hard link is an ordinary file of the VM's
  // disk.
  for (const name of names) expect(name.split('/')).not.toContain('..');
  expect(names.filter((name) => /keys|root|passwd|pipe|outside/.test(name))).toEqual([]);
  expect(names).toContain('out/-rf');
  // An app that cannot be read is an artifact without a description, and costs nothing else.
  const apps = new Map(ended.artifacts.map(({ name, app }) => [name, app]));
  expect(apps.get('out/million.ipa')).toBeNull();
  expect(apps.get('out/turned.ipa')).toMatchObject({ id: null, name: 'api.Shop' });
  for (const { name } of ended.artifacts) {
    const { status, headers } = await fetch(
      `${mac.farm.controller.url}/api/builds/${build.id}/artifacts/${name.split('/').map(encodeURIComponent).join('/')}`,
      { headers: { Authorization: `Bearer ${mac.farm.controller.secrets.ADMIN_KEY}` } },
    );
    expect({ name, status }).toEqual({ name, status: 200 });
    expect(headers.get('content-disposition') ?? '', name).toMatch(/^attachment/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  }
  expect(existsSync(join(mac.mac.tartHome, 'pwned')) || existsSync('pwned')).toBe(false);

  // The agent refuses a name that is a path on another system, and then takes no artifact of the build.
  const broken = await mac.build({
    command: `mkdir out; echo d >'out/..\\..\\d'; echo made`,
    artifacts: [glob('out/**')],
  });
  expect((await broken.fails({ verdict: 'artifact_refused', step: 'artifacts' })).artifacts).toEqual([]);
  await mac.settles();
});

test.concurrent('what it leaves running ends with its VM, also in a session of its own, and beats no more', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: `cat >linger.sh <<'END'
trap '' TERM INT HUP
while :; do date >>"$HOME/lingering"; sleep 0.1; done
END
setsid nohup bash linger.sh >/dev/null 2>&1 &
until [ -e "$HOME/lingering" ]; do sleep 0.1; done; echo left`,
  });
  const ended = await build.succeeds('left\n');
  await mac.settles();
  const left = readdirSync('/proc').filter(
    (pid) => readProc(pid, 'cmdline').includes('linger.sh') && readProc(pid, 'environ').includes(mac.mac.tartHome),
  );
  expect(left).toEqual([]);
  expect((await build.read()).status).toBe(ended.status);
  expect((await build.read()).events).toEqual(ended.events);
});

test.concurrent('169.254.169.254 is refused, however it is written; the controller is reached', async () => {
  await using mac = await macs.take();
  const { port } = new URL(mac.farm.controller.url);
  const build = await mac.build({
    env: { PORT: port },
    command: `${ASK}ask metadata http://169.254.169.254/latest/meta-data/
ask number http://2852039166/
ask hex http://0xa9fea9fe/
ask mapped 'http://[::ffff:169.254.169.254]/'
ask tunnel -p http://169.254.169.254/
ask other http://169.254.1.1/
ask controller $controller/health`,
  });
  await build.ends();
  await mac.until(async () => (await build.log()).complete, 'the log is complete');
  const { text } = await build.log();
  expect(text).toMatch(/^controller=200$/m);
  for (const name of ['metadata', 'number', 'hex', 'mapped', 'tunnel', 'other'])
    expect(text).toMatch(new RegExp(`^${name}=(403|000)$`, 'm'));
  await mac.settles();
});

test.concurrent('an evil monitor: beats of a phase that is markup are text, and a stage is nothing that a build can say', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: `send_heartbeat 50 '<script>alert(1)</script>'; echo begun; while [ ! -e go ]; do sleep 0.2; done`,
  });
  await build.prints('begun');
  await build.reaches(({ live }) => (live?.phase ?? '').includes('script'), 'shows its phase');
  const { tokens, workerId } = mac.journal(build.id).assignment;
  const path = `/api/builds/${build.id}/heartbeat?worker_id=${workerId}`;
  // With the stage "collecting" a build could turn its own deadlines off.
  const body = JSON.stringify({ progress: 50, attempt: 1, source: 'agent', stage: 'collecting', outputAgeMs: 0 });
  expect(await request(mac.farm.controller.url, 'POST', path, tokens.vm, body)).toBe(200);
  expect((await build.read()).live?.stage).not.toBe('collecting');
  const page = await fetch(`${mac.farm.controller.url}/api/builds/${build.id}`, {
    headers: { Authorization: `Bearer ${mac.farm.controller.secrets.ADMIN_KEY}` },
  });
  expect(page.headers.get('content-type')).toContain('application/json');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\n');
  await mac.settles();
});

async function request(url: string, method: string, path: string, token: string, body?: string): Promise<number> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { 'X-API-Key': token, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
    ...(body !== undefined && { body }),
    signal: AbortSignal.timeout(30_000),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Returns an empty text if this is not a process, or if the process has just ended. */
function readProc(pid: string, name: 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}
