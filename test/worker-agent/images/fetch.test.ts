import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { WantedImage } from '#contract';
import { pause } from '../../../client/retry.ts';
import { parseConfig } from '../../../worker-agent/config.ts';
import type { HostEvent } from '../../../worker-agent/events.ts';
import { Fetching, type FetchingOptions, type HeldSlot } from '../../../worker-agent/images/fetch.ts';
import { type AddOptions, Images, type NewGeneration } from '../../../worker-agent/images/images.ts';
import { ImagesFile } from '../../../worker-agent/images/images-file.ts';
import { madeWithOf, writeMadeWith } from '../../../worker-agent/images/made-with.ts';
import { MAKE_BUSY_EXIT } from '../../../worker-agent/images/make-image.ts';
import { firstState } from '../../../worker-agent/images/roll-out.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const NAME = `ghcr.io/acme/builder@sha256:${'a'.repeat(64)}`;
const wanted = (more: Partial<WantedImage> = {}): WantedImage => ({
  ...{ name: 'default', reference: NAME, mayFetch: true },
  ...more,
});

const SNAPSHOT = `mac-base-${'a'.repeat(12)}`;
const FETCHED = { vm: SNAPSHOT, digest: `sha256:${'c'.repeat(64)}`, provisioned: 'd'.repeat(64), reference: NAME };
const MADE = `digest=${FETCHED.digest}\nprovisioned=${FETCHED.provisioned}\nfrom=`;

/** Takes every generation as if doctor had passed in it, or answers what the test says. */
class ExaminedImages extends Images {
  readonly added: NewGeneration[] = [];
  doctor: (signal: AbortSignal) => Promise<string | null> = async () => null;

  override async addCandidate(name: string, generation: NewGeneration, { signal }: AddOptions) {
    this.added.push(generation);
    const failed = await this.doctor(signal);
    if (failed !== null) return { failed };
    this.record(name, generation);
    return 'switched' as const;
  }
}

/** The answers of a `tart` that keeps its VMs as files. */
const KEEPS_VMS = {
  list: `
    cd "$HOME_DIR/vms" && comma= && printf '['
    for vm in *; do
      [ -e "$vm" ] || continue
      case $vm in pulled-*) source=OCI name=${NAME} ;; *) source=local name=$vm ;; esac
      printf '%s{"Name":"%s","Source":"%s","State":"stopped"}' "$comma" "$name" "$source" && comma=,
    done
    printf ']'`,
  pull: 'touch "$HOME_DIR/vms/pulled-1"',
  clone: 'touch "$HOME_DIR/vms/$3"',
  stop: ':',
  delete: 'case $2 in */*) rm -f "$HOME_DIR/vms/pulled-1" ;; *) rm -f "$HOME_DIR/vms/$2" ;; esac',
};

/** Stands in for create-base-image.sh, which test/vm-image tests. `$HOME_DIR` is that of the `tart`. */
function stubScript(mac: { scripted: { dir: string } }, text: string) {
  const folder = join(mac.scripted.dir, 'vm-image');
  mkdirSync(folder, { recursive: true });
  const head = `HOME_DIR='${mac.scripted.dir}'; vm=$1
echo "script $*" >>"$HOME_DIR/calls"
while [ $# -gt 0 ]; do
  case $1 in --snapshot) snapshot=$2 ;; --result) result=$2 ;; esac
  shift
done
make() { touch "$HOME_DIR/vms/$snapshot"; printf 'snapshot=%s\n${MADE}\n' "$snapshot" >"$result"; }
`;
  writeFileSync(join(folder, 'create-base-image.sh'), head + text);
  vi.stubEnv('TARTBEAT_VM_IMAGE', folder);
  onTestFinished(() => void vi.unstubAllEnvs());
}

function aMac(scripts: Record<string, string> = {}, options: Partial<FetchingOptions> = {}) {
  const dir = temporaryDir();
  const scripted = scriptedTart({ list: "echo '[]'", fqn: `echo "$2"`, delete: ':', ...scripts });
  const configPath = join(dir.path, 'config.json');
  const settings = {
    ...{ vmName: 'mac', vmUser: 'admin', vmSshKey: '/key', controllerUrl: 'http://c', apiKey: 'tb_worker_abcdefgh' },
    registries: ['ghcr.io/acme/'],
  };
  const config = parseConfig(JSON.stringify(settings), configPath);
  const events: HostEvent[] = [];
  const emit = (event: unknown) => void events.push(event as HostEvent);
  const images = new ExaminedImages({ configPath, config, tart: scripted.tart, emit });
  mkdirSync(join(scripted.dir, 'vms'));
  const stateDir = join(dir.path, 'state');
  const fetching = new Fetching({
    ...{ config, stateDir, images, tart: scripted.tart, emit },
    roomOf: async () => ({ totalBytes: 500e9, freeBytes: 300e9 }),
    clonesBytes: async () => 15e9,
    holdSlot: () => Promise.reject(new Error('there is no slot')),
    ...options,
  });
  const over = new AbortController();
  const running = fetching.run(over.signal);
  const stop = async () => {
    over.abort();
    await running;
  };
  return {
    ...{ scripted, stateDir, images, fetching, events, stop },
    vms: () => readdirSync(join(scripted.dir, 'vms')).sort(),
    has: (...names: string[]) => {
      for (const name of names) writeFileSync(join(scripted.dir, 'vms', name), '');
    },
    transfers: () => scripted.calls().filter((call) => /^(pull|delete|script)/.test(call)),
    async [Symbol.asyncDispose]() {
      await stop();
      scripted[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('nothing is fetched without the turn, from another registry, for an image that the Mac does not have', async () => {
  await using mac = aMac();
  const other = NAME.replace('acme', 'else');
  mac.fetching.want([wanted({ mayFetch: false }), wanted({ reference: other }), wanted({ name: 'xcode-28' })]);
  expect(mac.fetching.fetches).toEqual([
    { name: 'default', reference: NAME, state: 'waiting', percent: null, message: '' },
    {
      ...{ name: 'default', reference: other, state: 'failed', percent: null },
      message:
        '"registries" in the config of this Mac does not name ghcr.io/else/. Add it there if this Mac may fetch from it, and restart the agent',
    },
    {
      ...{ name: 'xcode-28', reference: NAME, state: 'failed', percent: null },
      message: 'the config of this Mac has no image xcode-28',
    },
  ]);
  await mac.stop();
  expect(mac.transfers()).toEqual([]);
});

test('an image that is there is done, and one that was switched back is not fetched again', async () => {
  await using mac = aMac();
  const state = firstState('mac-base-snapshot');
  const file = new ImagesFile(mac.stateDir);
  file.change(() => ({ default: { ...state, current: { ...state.current, reference: NAME } } }));
  mac.fetching.want([wanted()]);
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'done' });
  const switchedBack = { vm: 'mac-base-aaa', reference: NAME, at: '2026-11-29T00:00:00Z', why: 'b_1, b_2' };
  file.change(() => ({ default: { ...state, switchedBack } }));
  expect(mac.fetching.fetches[0]).toMatchObject({
    state: 'failed',
    message: 'this Mac has switched it back: b_1, b_2',
  });
});

test('a disk without room for both images is said before the download', async () => {
  await using mac = aMac(
    {},
    { roomOf: async () => ({ totalBytes: 256e9, freeBytes: 20e9 }), clonesBytes: async () => 30e9 },
  );
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe(
    '43 GB must be free to fetch it beside the present image, and 20 GB are',
  );
  expect(mac.transfers()).toEqual([]);
});

test('the percentage is told while it is pulled, and the end of the agent ends the pull', async () => {
  await using mac = aMac({ pull: 'echo pulling disk; echo 0%; echo 42%; sleep 600 & wait' });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.percent === 42, '42 %');
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'fetching' });
  await mac.stop();
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'waiting' });
});

test('what has failed is not tried again at once, though it is still the turn of this Mac', async () => {
  await using mac = aMac({ pull: 'echo "Error: unauthorized" >&2; exit 1' });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toContain('unauthorized');
  mac.fetching.want([wanted({ mayFetch: false })]);
  mac.fetching.want([wanted()]);
  const second = NAME.replace('builder', 'other');
  mac.fetching.want([wanted(), wanted({ reference: second })]);
  await until(() => mac.fetching.fetches[1]?.state === 'failed', 'the other one has failed too');
  expect(mac.transfers()).toEqual([`pull ${NAME}`, `pull ${second}`]);
  expect(
    mac.events.filter(({ type }) => type === 'image_fetch').map((event) => 'state' in event && event.state),
  ).toEqual(['fetching', 'failed', 'fetching', 'failed']);
});

test('a registry that gives another image than the one that was asked for is not believed', async () => {
  const given = NAME.replaceAll('aaaa', 'bbbb');
  await using mac = aMac({ pull: 'echo 100%', fqn: `echo ${given}` });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe(`the registry gave another image than was asked for: ${given}`);
  expect(mac.transfers()).toEqual([`pull ${NAME}`, `delete ${NAME}`]);
});

test('a registry on this Mac is asked over http', async () => {
  using scripted = scriptedTart({ pull: 'echo 100%', push: 'echo "$CI $TART_NO_AUTO_PRUNE" >"$HOME_DIR/environment"' });
  await scripted.tart.pull('127.0.0.1:5000/builder:1');
  await scripted.tart.push('mac', 'localhost/builder:1');
  await scripted.tart.pull('127.0.0.1.example.com/builder:1');
  expect(scripted.calls()).toEqual([
    'pull 127.0.0.1:5000/builder:1 --insecure',
    'push mac localhost/builder:1 --populate-cache --insecure',
    'pull 127.0.0.1.example.com/builder:1',
  ]);
  expect(readFileSync(join(scripted.dir, 'environment'), 'utf8')).toBe('1 1\n');
});

const anySlot = () => Promise.resolve({ vmGone() {}, release() {} });

test('a fetch that was stopped goes on, and needs no room for what is on the disk already', async () => {
  await using mac = aMac(KEEPS_VMS, {
    holdSlot: anySlot,
    roomOf: async () => ({ totalBytes: 256e9, freeBytes: 30e9 }),
  });
  stubScript(mac, 'make');
  vi.spyOn(mac.scripted.tart, 'diskBytes').mockResolvedValue(90e9);
  mac.has('pulled-1', `${SNAPSHOT}-making`);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is done');
  expect(mac.images.added).toEqual([FETCHED]);
  const transfers = mac.transfers();
  expect(transfers.filter((call) => call.startsWith('pull'))).toEqual([]);
  expect(transfers.indexOf(`delete ${NAME}`)).toBeLessThan(transfers.indexOf(`delete ${SNAPSHOT}-making`));
  expect(mac.vms()).toEqual([SNAPSHOT]);
});

test('a fetch that has failed leaves no copy on a disk that is short of room', async () => {
  await using mac = aMac(KEEPS_VMS, { roomOf: async () => ({ totalBytes: 256e9, freeBytes: 27e9 }) });
  mac.has('pulled-1', `${SNAPSHOT}-making`);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  await until(() => mac.vms().length === 0, 'nothing is left');
});

test('what a former agent still makes stays, and is taken up again', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, `exit ${MAKE_BUSY_EXIT}`);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toContain('a former agent of this Mac still makes it');
  expect(mac.vms()).toEqual([`${SNAPSHOT}-making`, 'pulled-1']);
});

test('a candidate with other options than the present image has is made anew', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'make');
  mac.has(SNAPSHOT);
  const candidate = { ...FETCHED, hostKey: null, answersExec: false };
  new ImagesFile(mac.stateDir).change(() => ({ default: { ...firstState('mac-base-snapshot'), candidate } }));
  writeMadeWith(mac.stateDir, 'mac-base-snapshot', madeWithOf(['--restrict-key']), mac.images.list());
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is there');
  expect(mac.transfers().find((call) => call.startsWith('script'))).toContain('--restrict-key');
});

test('a previous snapshot with other options than the present one has is neither used nor replaced', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  mac.has(SNAPSHOT);
  const previous = { ...FETCHED, hostKey: null, answersExec: false };
  new ImagesFile(mac.stateDir).change(() => ({ default: { ...firstState('mac-base-snapshot'), previous } }));
  writeMadeWith(mac.stateDir, 'mac-base-snapshot', madeWithOf(['--restrict-key']), mac.images.list());
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it is refused');
  expect(mac.fetching.fetches[0]!.message).toContain('with other options than the present one has');
  expect(mac.vms()).toEqual([SNAPSHOT]);
});

test('an image that is withdrawn while it is pulled is not rolled out', async () => {
  await using mac = aMac({ ...KEEPS_VMS, pull: 'echo 42%; exec sleep 600' }, { holdSlot: anySlot });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.percent === 42, '42 %');
  mac.fetching.want([]);
  const isOver = () =>
    mac.events.some((event) => event.type === 'image_fetch' && event.message === 'no pool names it any more');
  await until(isOver, 'it is over');
  expect(mac.images.added).toEqual([]);
  mac.fetching.want([wanted({ mayFetch: false })]);
  expect(mac.fetching.fetches[0]).toMatchObject({ state: 'waiting' });
});

test('an image that is replaced while it is provisioned leaves nothing, and the other one is fetched', async () => {
  const other = NAME.replaceAll('a'.repeat(64), 'e'.repeat(64));
  await using mac = aMac({ ...KEEPS_VMS, fqn: 'echo "$2"' }, { holdSlot: anySlot });
  stubScript(mac, 'make; case $vm in *aaa-making) touch "$HOME_DIR/began"; exec sleep 600 ;; esac');
  mac.fetching.want([wanted()]);
  await until(() => existsSync(join(mac.scripted.dir, 'began')), 'the script runs');
  expect(mac.vms()).toEqual([SNAPSHOT, `${SNAPSHOT}-making`, 'pulled-1']);
  mac.fetching.want([wanted({ reference: other })]);
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'the other one is there');
  expect(mac.images.added.map(({ reference }) => reference)).toEqual([other]);
  expect(mac.vms()).toEqual([SNAPSHOT.replaceAll('a'.repeat(12), 'e'.repeat(12))]);
});

test('an image that is withdrawn while doctor examines it does not become current', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'make');
  mac.images.doctor = (signal) => pause(600_000, signal).then(() => null);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'checking', 'doctor examines it');
  mac.fetching.want([]);
  await until(() => mac.vms().every((name) => name === 'pulled-1'), 'nothing is left of it');
  expect(mac.images.list()[0]!.current.vm).toBe('mac-base-snapshot');
});

test('what former agents have left of an image that no pool names goes, and nothing else', async () => {
  await using mac = aMac(KEEPS_VMS);
  const others = ['mac', 'mac-base-bbbbbbbbbbbb', 'mac-base-mine-making', 'other-base-aaaaaaaaaaaa-making'];
  const wantedOne = `mac-base-${'f'.repeat(12)}-making`;
  mac.has(...others, wantedOne, SNAPSHOT, `${SNAPSHOT}-making`, `${SNAPSHOT}-new`);
  mac.fetching.want([wanted({ mayFetch: false, reference: NAME.replaceAll('a'.repeat(64), 'f'.repeat(64)) })]);
  await until(() => !mac.vms().includes(`${SNAPSHOT}-making`), 'it is gone');
  expect(mac.vms()).toEqual([...others, wantedOne].sort());
});

test('an agent that died right after the switch leaves no copy of the image that was pulled', async () => {
  await using mac = aMac(KEEPS_VMS);
  const state = firstState(SNAPSHOT);
  new ImagesFile(mac.stateDir).change(() => ({
    default: { ...state, current: { ...state.current, reference: NAME } },
  }));
  mac.has(SNAPSHOT, `${SNAPSHOT}-making`, 'pulled-1');
  mac.fetching.want([wanted()]);
  await until(() => !mac.vms().includes(`${SNAPSHOT}-making`), 'it has looked');
  expect(mac.vms()).toEqual([SNAPSHOT]);
});

test.each(['previous', 'candidate'] as const)(
  'an image that is the %s make of this Mac is neither fetched nor made again',
  async (which) => {
    await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
    stubScript(mac, 'make');
    mac.has(SNAPSHOT);
    const make = { ...FETCHED, hostKey: 'SHA256:x', answersExec: true };
    new ImagesFile(mac.stateDir).change(() => ({ default: { ...firstState('mac-base-snapshot'), [which]: make } }));
    const elsewhere = NAME.replace('acme', 'acme/copies');
    mac.fetching.want([wanted({ reference: elsewhere })]);
    await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is done');
    expect(mac.images.added).toEqual([{ ...make, reference: elsewhere }]);
    expect(mac.vms()).toEqual([SNAPSHOT]);
    expect(mac.transfers().filter((call) => /^(pull|script)/.test(call))).toEqual([]);
  },
);

test('a candidate in which doctor has failed is made anew the next time', async () => {
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  onTestFinished(() => void vi.restoreAllMocks());
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'make');
  mac.has(SNAPSHOT);
  new ImagesFile(mac.stateDir).change(() => ({
    default: { ...firstState('mac-base-snapshot'), candidate: { ...FETCHED, hostKey: null, answersExec: false } },
  }));
  const scripts = () => mac.scripted.calls().filter((call) => call.startsWith('script')).length;
  mac.images.doctor = async () => 'guest_scripts: too old';
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'doctor has failed');
  expect(scripts()).toBe(0);
  mac.images.doctor = async () => null;
  nowMs += 3_600_000;
  mac.fetching.want([wanted({ mayFetch: false })]);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is done');
  expect(scripts()).toBe(1);
});

test('a VM that builds are cloned from is never replaced', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'make');
  mac.has(SNAPSHOT);
  new ImagesFile(mac.stateDir).change(() => ({ default: firstState(SNAPSHOT) }));
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toContain(`${SNAPSHOT} is a VM of this image already`);
  expect(mac.transfers()).toEqual([]);
});

test('a wait for a slot has an end, which keeps what was pulled', async () => {
  const holdSlot = (_vm: string, signal: AbortSignal) => pause(600_000, signal).then(anySlot);
  await using mac = aMac(KEEPS_VMS, { holdSlot, slotPatienceMs: 10 });
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe('no slot became free in time. The next turn continues from here');
  expect(mac.vms()).toEqual(['pulled-1']);
});

test('what fails in a slot waits twice as long each time, up to a day', async () => {
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  onTestFinished(() => void vi.restoreAllMocks());
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'echo "create-base-image.sh: no" >&2; exit 1');
  const tries = () => mac.scripted.calls().filter((call) => call.startsWith('script')).length;
  const look = (mayFetch: boolean) => mac.fetching.want([wanted({ mayFetch })]);
  const hours = [1, 2, 4, 8, 16, 24, 24];
  for (const [index, hour] of hours.entries()) {
    look(true);
    await until(() => tries() === index + 1 && mac.fetching.fetches[0]?.state === 'failed', `try ${index + 1} failed`);
    nowMs += hour * 3_600_000 - 1;
    expect(mac.fetching.fetches[0]!.state, `before ${hour} h`).toBe('failed');
    look(false);
    nowMs += 1;
    expect(mac.fetching.fetches[0]!.state, `after ${hour} h`).toBe('waiting');
  }
});

/** A person makes an image with --restrict-key, and builds get it at once. */
function makeByHand({ stateDir, images }: { stateDir: string; images: Images }) {
  const vm = 'mac-base-mine';
  new ImagesFile(stateDir).change(() => ({ default: firstState(vm) }));
  writeMadeWith(stateDir, vm, { restrictKey: true, packetFilter: null, authorities: '' }, images.list());
}

test('an image has the options of the one that was made by hand while its fetch waited for a slot', async () => {
  const slot = Promise.withResolvers<HeldSlot>();
  await using mac = aMac(KEEPS_VMS, { holdSlot: () => slot.promise });
  stubScript(mac, 'make');
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'provisioning', 'it waits for a slot');
  makeByHand(mac);
  slot.resolve(await anySlot());
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is done');
  expect(mac.scripted.calls().find((call) => call.startsWith('script'))).toContain('--restrict-key');
});

test('an image that was provisioned while a person made one with other options does not stand in its place', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  const path = (name: string) => join(mac.scripted.dir, name);
  stubScript(mac, `touch '${path('began')}'; until [ -e '${path('go')}' ]; do sleep 0.02; done; make`);
  mac.fetching.want([wanted()]);
  await until(() => existsSync(path('began')), 'the script runs');
  makeByHand(mac);
  writeFileSync(path('go'), '');
  await until(() => mac.fetching.fetches[0]?.state === 'failed', 'it has failed');
  expect(mac.fetching.fetches[0]!.message).toBe('the present image has got other options meanwhile');
  expect(mac.images.added).toEqual([]);
});

test('a file of images that cannot be read ends no fetching: it goes on once the file can be read', async () => {
  await using mac = aMac(KEEPS_VMS, { holdSlot: anySlot });
  stubScript(mac, 'make');
  const unreadable = join(mac.stateDir, 'images.json');
  mkdirSync(unreadable, { recursive: true });
  mac.fetching.want([wanted()]);
  const hasSaid = (event: HostEvent) =>
    event.type === 'warning' && event.message.startsWith('the agent could not look');
  await until(() => mac.events.some(hasSaid), 'it is said');
  rmSync(unreadable, { recursive: true });
  mac.fetching.want([]);
  mac.fetching.want([wanted()]);
  await until(() => mac.fetching.fetches[0]?.state === 'done', 'it is done');
});

test('a slot is given back though nobody can read which VMs of the fetch are to be removed', async () => {
  const released = Promise.withResolvers<void>();
  await using mac = aMac(KEEPS_VMS, { holdSlot: async () => ({ vmGone() {}, release: released.resolve }) });
  stubScript(mac, `mkdir -p '${mac.stateDir}/images.json'; echo "create-base-image.sh: no" >&2; exit 1`);
  mac.fetching.want([wanted()]);
  await released.promise;
  const hasFailed = (event: HostEvent) => event.type === 'image_fetch' && event.message.includes('ended with 1');
  await until(() => mac.events.some(hasFailed), 'why it has failed is said');
});
