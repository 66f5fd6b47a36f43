import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { changeConfig, loadConfig, parseConfig, saveConfig, vmControllerUrl } from '../../worker-agent/config.ts';
import { ConfigError } from '../../worker-agent/config-findings.ts';
import { temporaryDir } from './factories/temporary-dir.ts';

const guideConfig = {
  vmName: 'expo-build-vm',
  vmUser: 'builder',
  vmSshKey: '~/.ssh/tart_vm_key',
  vmIp: '192.168.64.2',
  controllerUrl: 'https://builds.example.com',
  apiKey: 'your-api-key',
};

const findingsOf = (value: unknown) => {
  try {
    parseConfig(typeof value === 'string' ? value : JSON.stringify(value), 'config.json');
    return [];
  } catch (error) {
    return (error as ConfigError).findings;
  }
};

test("the guide's config is accepted as it stands, with `~` expanded and defaults filled in", () => {
  const { vmName, ...guide } = guideConfig;
  expect(parseConfig(JSON.stringify(guideConfig), 'config.json')).toEqual({
    ...guide,
    images: [{ name: 'default', vmName, platforms: ['ios', 'android'] }],
    registries: [],
    keepVmMaxMs: 0,
    vmSshKey: join(homedir(), '.ssh/tart_vm_key'),
    vmHostAddress: '192.168.64.1',
    isolation: 'nat',
    vmSshPort: 22,
    tartPath: 'tart',
    maxConcurrentBuilds: 1,
    minFreeDiskGb: 15,
    logLevel: 'info',
  });
});

test('everything that is wrong is named at once, each with its fix', () => {
  const { apiKey: _, ...rest } = guideConfig;
  const findings = findingsOf({
    ...rest,
    ...{ vmSSHKey: 'x', maxConcurrentBuilds: 3, vmSshPort: '22', platforms: ['tvos'] },
    ...{ keepVmMaxMs: 86_400_001, vmCpus: 0, vmMemoryMb: 2048.5, isolation: 'none' },
  });
  expect(Object.fromEntries(findings.map(({ key, problem, fix }) => [key, `${problem}. ${fix}`]))).toEqual({
    apiKey: 'missing. Add "apiKey", or run `expo-worker init`',
    vmSSHKey: 'no such setting. Did you mean vmSshKey?',
    maxConcurrentBuilds: 'not usable. A Mac runs at most 2 macOS VMs',
    vmSshPort: 'must be a number, but is "22". Correct its value',
    'platforms.0': 'must be "ios" or "android", but is "tvos". Correct its value',
    keepVmMaxMs: 'must be at most 86400000, but is 86400001. Correct its value',
    vmCpus: 'must be at least 1, but is 0. Correct its value',
    vmMemoryMb: 'must be a whole number, but is 2048.5. Correct its value',
    isolation: 'must be "nat" or "softnet" or "controller", but is "none". Correct its value',
  });
});

test('a Mac has one image in the short form, or a list of images that differ in name and VM', () => {
  const { vmName: _, ...rest } = guideConfig;
  const images = [
    { name: 'xcode-26', vmName: 'vm-26', platforms: ['ios', 'android'] },
    { name: 'xcode-27', vmName: 'vm-27', platforms: ['ios'] },
  ];
  expect(parseConfig(JSON.stringify({ ...rest, images }), 'config.json').images).toEqual(images);
  const keysOf = (value: unknown) => findingsOf(value).map(({ key, problem }) => `${key}: ${problem}`);
  expect(keysOf(rest)).toEqual(['vmName: missing']);
  expect(keysOf({ ...guideConfig, platforms: ['ios'], images })).toEqual([
    'vmName: it stands beside images',
    'platforms: it stands beside images',
  ]);
  expect(keysOf({ ...rest, images: [{ name: 'xcode-26', platforms: ['ios'] }] })).toEqual(['images.0.vmName: missing']);
  expect(keysOf({ ...rest, images: [images[0], images[0]] })).toEqual([
    'images.name: xcode-26 is there twice',
    'images.vmName: vm-26 is there twice',
  ]);
  const named = (vmName: string) => keysOf({ ...rest, images: [images[0], { ...images[1], vmName }] });
  for (const made of ['next', 'publishing', 'published', 'base-snapshot', 'base-0123456789ab', 'Next'])
    expect(named(`vm-26-${made}`)).toEqual([
      `images.vmName: vm-26-${made} is the name of a VM that is made of the image in vm-26`,
    ]);
  expect(named('vm-26-next-one')).toEqual([]);
});

test('a setting that resembles none is told what there is', () => {
  expect(findingsOf({ ...guideConfig, colour: 'red' })[0]?.fix).toContain('vmName, images, registries, vmUser');
});

test.for<[string, unknown]>([
  ['vmName', '../etc'],
  ['vmName', '-rf'],
  ['vmName', null],
  ['vmUser', 'a b'],
  ['controllerUrl', 'builds.example.com'],
  ['controllerUrl', 'ftp://x'],
  ['controllerUrl', 'https://user:pass@x'],
  ['apiKey', 'with space in it'],
  ['apiKey', ''],
  ['vmSshPort', 0],
  ['vmSshPort', 2.5],
  ['vmDisplay', 'big'],
  ['vmHostAddress', 'localhost'],
  ['minFreeDiskGb', -1],
  ['logLevel', 'loud'],
])('%s is refused as %j', ([key, value]) => {
  expect(findingsOf({ ...guideConfig, [key]: value }).map((finding) => finding.key)).toEqual([key]);
});

test('broken JSON is told with its line and column', () => {
  const [finding] = findingsOf('{\n  "vmName": "x",\n  "vmUser" "y"\n}');
  expect(finding?.problem).toBe('not valid JSON at line 3, column 12');
  expect(findingsOf('{"vmName": "x"')[0]?.problem).toContain('line 1, column 15');
  expect(findingsOf('')[0]?.problem).toContain('line 1, column 1');
  expect(findingsOf('[]')[0]?.problem).toBe('must be an object, but is a list');
  expect(findingsOf('null')[0]?.problem).toBe('must be an object, but is null');
});

test('a file that others can read is refused with the command that repairs it', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  writeFileSync(path, JSON.stringify(guideConfig), { mode: 0o600 });
  for (const mode of [0o644, 0o640, 0o602, 0o601]) {
    chmodSync(path, mode);
    await expect(loadConfig(path)).rejects.toThrow(`chmod 600 ${path}`);
  }
  chmodSync(path, 0o600);
  expect((await loadConfig(path)).images[0].vmName).toBe('expo-build-vm');
});

test('an absent file points to init', async () => {
  using dir = temporaryDir();
  await expect(loadConfig(join(dir.path, 'none.json'))).rejects.toThrow('expo-worker init');
});

test('saving keeps what was written, makes the folder, and lets nobody else read it', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'deep', 'config.json');
  saveConfig(path, guideConfig);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(guideConfig);
  chmodSync(path, 0o644);
  saveConfig(path, { ...guideConfig, vmSshPort: 2222 });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(() => saveConfig(path, { ...guideConfig, vmName: '/' })).toThrow(ConfigError);
  expect(JSON.parse(readFileSync(path, 'utf8')).vmName).toBe('expo-build-vm');
});

test('two who change a config at once both have what they wrote', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'config.json');
  saveConfig(path, guideConfig);
  await Promise.all([changeConfig(path, { vmSshPort: 2222 }), changeConfig(path, { minFreeDiskGb: 30 })]);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ ...guideConfig, vmSshPort: 2222, minFreeDiskGb: 30 });
});

test('the VM sees a controller on its host at the address of the host', () => {
  const at = (controllerUrl: string, more = {}) =>
    vmControllerUrl(parseConfig(JSON.stringify({ ...guideConfig, controllerUrl, ...more }), 'config.json'));
  expect(at('http://localhost:3000')).toBe('http://192.168.64.1:3000');
  expect(at('http://127.0.0.1:3000/')).toBe('http://192.168.64.1:3000');
  expect(at('http://[::1]:3000/base/')).toBe('http://192.168.64.1:3000/base');
  expect(at('http://localhost', { vmHostAddress: '10.0.0.1' })).toBe('http://10.0.0.1');
  expect(at('https://builds.example.com')).toBe('https://builds.example.com');
  expect(at('http://localhost:3000', { vmControllerUrl: 'https://tunnel.example.com' })).toBe(
    'https://tunnel.example.com',
  );
});
