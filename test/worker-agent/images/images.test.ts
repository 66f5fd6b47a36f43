import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import type { AgentConfigInput } from '../../../worker-agent/config.ts';
import { parseConfig } from '../../../worker-agent/config.ts';
import type { HostEvent } from '../../../worker-agent/events.ts';
import { Images } from '../../../worker-agent/images/images.ts';
import { ImagesFile } from '../../../worker-agent/images/images-file.ts';
import { firstState, PROVEN_AFTER } from '../../../worker-agent/images/roll-out.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const signal = new AbortController().signal;
const PROVISIONED = 'a'.repeat(64);
const XCODES: AgentConfigInput['images'] = [
  { name: 'xcode-26', vmName: 'x26', platforms: ['ios', 'android'] },
  { name: 'xcode-27', vmName: 'x27', platforms: ['ios'] },
];

function aMac(scripts: Record<string, string> = {}, images = XCODES) {
  const dir = temporaryDir();
  const scripted = scriptedTart({ list: "echo '[]'", ...scripts });
  const configPath = join(dir.path, 'config.json');
  const settings = {
    ...{ images, vmUser: 'admin', vmSshKey: '/key', controllerUrl: 'http://c', apiKey: 'tb_worker_abcdefgh' },
    vmHostKey: `SHA256:${'h'.repeat(43)}`,
  };
  const events: HostEvent[] = [];
  const options = { configPath, config: parseConfig(JSON.stringify(settings), configPath), tart: scripted.tart };
  return {
    events,
    scripted,
    stateDir: join(dir.path, 'state'),
    file: new ImagesFile(join(dir.path, 'state')),
    open: () => Images.open({ ...options, emit: (event) => void events.push(event as HostEvent) }),
    [Symbol.dispose]() {
      scripted[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}

test('a Mac offers each pair of image and platform, and the first image with a platform is its default', () => {
  using mac = aMac();
  const unknown = { digest: null, provisioned: null };
  expect(mac.open().offers()).toEqual([
    { name: 'xcode-26', platform: 'ios', isDefault: true, ...unknown },
    { name: 'xcode-26', platform: 'android', isDefault: true, ...unknown },
    { name: 'xcode-27', platform: 'ios', isDefault: false, ...unknown },
  ]);
});

test('an agent can begin though the file cannot be read, and whoever asks for an image is told why', () => {
  using mac = aMac();
  mkdirSync(join(mac.stateDir, 'images.json'), { recursive: true });
  const images = mac.open();
  expect(() => images.list()).toThrow('EISDIR');
});

test('a build is cloned from the image that it names, or from the default of its platform', () => {
  using mac = aMac();
  const images = mac.open();
  expect(images.generationFor({ image: 'xcode-27', platform: 'ios' })?.vm).toBe('x27-base-snapshot');
  expect(images.generationFor({ platform: 'android' })?.vm).toBe('x26-base-snapshot');
  expect(images.generationFor({ image: 'xcode-27', platform: 'android' })).toBeNull();
  expect(images.generationFor({ image: 'xcode-28', platform: 'ios' })).toBeNull();
});

test('the host key of the config is that of the first snapshot of the first image, others have their own', () => {
  using mac = aMac();
  const images = mac.open();
  expect(images.generationFor({ image: 'xcode-26', platform: 'ios' })?.hostKey).toBe(`SHA256:${'h'.repeat(43)}`);
  expect(images.generationFor({ image: 'xcode-27', platform: 'ios' })?.hostKey).toBeNull();
  images.record('xcode-27', { vm: 'x27-base-snapshot', digest: null, provisioned: PROVISIONED, hostKey: 'SHA256:k' });
  expect(images.generationFor({ image: 'xcode-27', platform: 'ios' })).toMatchObject({
    hostKey: 'SHA256:k',
    provisioned: PROVISIONED,
  });
});

test('a host key that is pinned counts at once where an agent runs, also over that of the config', async () => {
  using mac = aMac();
  const running = mac.open();
  for (const { pin } of mac.open().examined()) await pin('SHA256:new');
  for (const name of ['xcode-26', 'xcode-27'])
    expect(running.generationFor({ image: name, platform: 'ios' })?.hostKey).toBe('SHA256:new');
});

test('the host key of the config outlasts the first entry of its image in images.json', () => {
  using mac = aMac();
  const outcome = { verdict: null, step: null, cause: null };
  const told = { vm: 'x26-base-snapshot', buildId: 'b1', projectId: 'p', reachedBuilding: true, outcome, at: 'now' };
  mac.open().noteOutcome('xcode-26', told);
  expect(mac.file.read()['xcode-26']?.succeeded).toEqual(['b1']);
  expect(mac.open().generationFor({ image: 'xcode-26', platform: 'ios' })?.hostKey).toBe(`SHA256:${'h'.repeat(43)}`);
});

test('a build is cloned from what was offered, also after a switch; what is neither current nor previous is gone', () => {
  using mac = aMac();
  const images = mac.open();
  const [old, made] = ['a', 'b'].map((letter) => ({
    ...{ vm: `x26-base-${letter}`, digest: null, provisioned: letter.repeat(64), reference: null, hostKey: letter },
    answersExec: true,
  }));
  const vmFor = (provisioned: string | null) =>
    images.generationFor({ platform: 'ios', imageIdentity: { digest: null, provisioned } })?.vm;
  mac.file.change(() => ({ 'xcode-26': { ...firstState('x26-base-b'), current: made!, previous: old! } }));
  expect([vmFor('b'.repeat(64)), vmFor('a'.repeat(64)), vmFor(null)]).toEqual(['x26-base-b', 'x26-base-a', undefined]);
  images.back('xcode-26');
  expect([vmFor('b'.repeat(64)), vmFor('a'.repeat(64))]).toEqual([undefined, 'x26-base-a']);
});

test('a missing VM takes the offers of its image away and is told once; without any VM the Mac takes no build', () => {
  using mac = aMac();
  const images = mac.open();
  const { changed } = images;
  expect(images.see(new Set(['x26-base-snapshot']))).toBeNull();
  expect(images.see(new Set(['x26-base-snapshot']))).toBeNull();
  expect(changed.aborted).toBe(true);
  expect(images.offers().map(({ name }) => name)).toEqual(['xcode-26', 'xcode-26']);
  expect(mac.events).toEqual([
    { type: 'warning', message: expect.stringMatching(/no VM x27-base-snapshot, .*not offered/) },
  ]);
  const { changed: again } = images;
  expect(images.see(new Set(['x27-base-snapshot']))).toBeNull();
  expect(again.aborted).toBe(true);
  expect(images.offers()).toEqual([expect.objectContaining({ name: 'xcode-27', isDefault: false })]);
  expect(images.see(new Set())).toMatch(/no VM x26-base-snapshot, .*base-image --image xcode-26/);
  expect(images.offers()).toHaveLength(3);
});

test('strikes survive a restart, and a switch back is told with its reason', () => {
  using mac = aMac();
  const [old, made] = ['x26-base-old', 'x26-base-new'];
  const generation = (vm: string) => ({
    ...{ vm, digest: null, provisioned: PROVISIONED, reference: null, hostKey: null, answersExec: false },
  });
  const state = { ...firstState(made), current: generation(made), previous: generation(old) };
  mac.file.change(() => ({ 'xcode-26': state }));
  const told = (buildId: string) => ({
    ...{ vm: made, buildId, projectId: 'p', reachedBuilding: false, at: '2026-11-29T00:00:00.000Z' },
    outcome: { verdict: 'boot_timeout', step: null, cause: null } as const,
  });
  expect(mac.open().noteOutcome('xcode-26', told('b1'))).toBe(false);
  const images = mac.open();
  expect(images.noteOutcome('xcode-26', told('b2'))).toBe(true);
  expect(images.generationFor({ image: 'xcode-26', platform: 'ios' })?.vm).toBe(old);
  expect(mac.events).toEqual([
    {
      ...{ type: 'image', image: 'xcode-26', change: 'switched_back', vm: old },
      message: `${made} is not used any more: b1 ended with boot_timeout, b2 ended with boot_timeout`,
    },
  ]);
  expect(images.noteOutcome('xcode-26', told('b3'))).toBe(false);
  expect(images.promote('xcode-26')?.current.vm).toBe(made);
  expect(images.back('xcode-26')?.current.vm).toBe(old);
  expect(images.back('xcode-26')).toBeNull();
});

test('a VM that no image needs is deleted, never one that an attempt may clone; a failure is tried again', async () => {
  const list = `[ -e "$HOME_DIR/gone" ] && echo '[]' || echo '[{"Name":"x26-base-1","Source":"local","State":"stopped"}]'`;
  using mac = aMac({ list, stop: 'exit 0', delete: '[ -e "$HOME_DIR/may" ] && touch "$HOME_DIR/gone"' });
  const unwanted = ['x26-base-1', 'x26-base-2'];
  mac.file.change(() => ({ 'xcode-26': { ...firstState('x26-base-snapshot'), unwanted } }));
  const images = mac.open();
  for (let tries = 0; tries < 2; tries++) await images.removeUnwanted(['x26-base-2'], signal);
  expect(mac.events).toEqual([{ type: 'warning', message: expect.stringContaining('x26-base-1') }]);
  expect(images.list()[0]!.unwanted).toEqual(unwanted);
  writeFileSync(join(mac.scripted.dir, 'may'), '');
  await images.removeUnwanted(['x26-base-2'], signal);
  expect(images.list()[0]!.unwanted).toEqual(['x26-base-2']);
  expect(mac.scripted.calls().join()).not.toContain('x26-base-2');
});

test('what a person decides while a VM is deleted holds for the next one', async () => {
  const list = `echo '[{"Name":"x26-base-1","Source":"local","State":"stopped"},{"Name":"x26-base-2","Source":"local","State":"stopped"}]'`;
  using mac = aMac({
    ...{ list, stop: 'exit 0' },
    delete: 'touch "$HOME_DIR/deleting"; while [ ! -e "$HOME_DIR/go" ]; do sleep 0.05; done',
  });
  const first = firstState('x26-base-snapshot');
  mac.file.change(() => ({ 'xcode-26': { ...first, unwanted: ['x26-base-1', 'x26-base-2'] } }));
  const removed = mac.open().removeUnwanted([], signal);
  await until(() => existsSync(join(mac.scripted.dir, 'deleting')), 'the first VM is being deleted');
  mac.file.change(() => ({ 'xcode-26': { ...first, current: { ...first.current, vm: 'x26-base-2' }, unwanted: [] } }));
  writeFileSync(join(mac.scripted.dir, 'go'), '');
  await removed;
  expect(mac.scripted.calls()).toContain('delete x26-base-1');
  expect(mac.scripted.calls()).not.toContain('delete x26-base-2');
});

test('a VM of an older agent that is no longer used stays, and that is told', () => {
  using mac = aMac();
  const images = mac.open();
  const candidate = { vm: 'x26-base-new', digest: null, provisioned: PROVISIONED, reference: null, hostKey: null };
  mac.file.change(() => ({
    'xcode-26': {
      ...firstState('x26-base-new'),
      current: { ...candidate, answersExec: false },
      previous: firstState('x26-base-snapshot').current,
      succeeded: Array.from({ length: PROVEN_AFTER - 1 }, (_, index) => `b${index}`),
    },
  }));
  images.noteOutcome('xcode-26', {
    ...{ vm: 'x26-base-new', buildId: 'b10', projectId: 'p', reachedBuilding: true, at: 'now' },
    outcome: { verdict: null, step: null, cause: null },
  });
  expect(mac.events).toContainEqual({
    type: 'warning',
    message: expect.stringMatching(
      /^x26-base-snapshot is no longer used, and stays, .*`tart delete x26-base-snapshot`$/,
    ),
  });
});

test('a file that cannot be read is set aside and told', () => {
  using mac = aMac();
  mkdirSync(mac.stateDir, { recursive: true });
  writeFileSync(join(mac.stateDir, 'images.json'), '{"xcode-26":{}}');
  expect(mac.open().generationFor({ platform: 'ios' })?.vm).toBe('x26-base-snapshot');
  expect(mac.events).toEqual([{ type: 'warning', message: expect.stringContaining('images.json.damaged') }]);
  expect(existsSync(join(mac.stateDir, 'images.json.damaged'))).toBe(true);
  expect(mac.open().list()).toHaveLength(2);
  expect(mac.events).toHaveLength(1);
});

test('two processes that change the file at the same time lose nothing', async () => {
  using mac = aMac();
  const module = new URL('../../../worker-agent/images/images-file.ts', import.meta.url).href;
  const script = (who: string) => `import { ImagesFile } from '${module}';
    const file = new ImagesFile(${JSON.stringify(mac.stateDir)});
    for (let i = 0; i < 20; i++) file.change((states) => ({ ...states, ['${who}' + i]: states.first }));`;
  mac.file.change(() => ({ first: firstState('vm') }));
  await Promise.all(['a', 'b'].map((who) => execa(process.execPath, ['--input-type=module', '-e', script(who)])));
  expect(Object.keys(mac.file.read())).toHaveLength(41);
  expect(readFileSync(join(mac.stateDir, 'images.json'), 'utf8')).toMatch(/\n$/);
});
