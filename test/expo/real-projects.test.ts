/**
 * Builds real projects from npm's templates with the real engine. Only the programs of a Mac or an Android
 * SDK are stand-ins. EXPO_ENGINE=all builds each shape of project for each target, and EXPO_ENGINE=shapes
 * each shape for a device. Without EXPO_ENGINE this file is not read.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type EngineBuild, engineVm } from './factories/engine-vm.ts';
import { watchNetwork } from './factories/network.ts';
import { makeSigningMaterial, type SigningMaterial } from './factories/signing-material.ts';
import {
  BUNDLE_ID,
  GREETINGS,
  makeRealProject,
  pnpmFolder,
  SDK_VERSION,
  type Shape,
  TARGET,
} from './projects/real-projects.ts';

const BUILD_WITHIN_MS = 420_000;
const TEST_MS = 900_000;
type Target = 'simulator' | 'device' | 'Android';

function buildOf(target: Target, { workflow, appRoot }: Shape, signing: SigningMaterial): EngineBuild {
  const type = workflow === 'managed' ? 'managed' : 'generic';
  const metadata = { sdkVersion: SDK_VERSION };
  const common = { type, appRoot };
  switch (target) {
    case 'simulator':
      return { appRoot, metadata, job: { ...common, platform: 'ios', simulator: true } };
    case 'device':
      return {
        appRoot,
        metadata,
        job: {
          ...common,
          platform: 'ios',
          secrets: { buildCredentials: signing.iosCredentials },
          version: { buildNumber: '77' },
        },
      };
    case 'Android':
      return {
        appRoot,
        metadata,
        job: {
          ...common,
          platform: 'android',
          secrets: { buildCredentials: signing.androidCredentials },
          version: { versionCode: '78' },
        },
      };
  }
}

const SHAPES: Shape[] = [
  { workflow: 'managed', manager: 'npm', appRoot: '.' },
  { workflow: 'bare', manager: 'npm', appRoot: '.' },
  { workflow: 'managed', manager: 'pnpm', appRoot: '.' },
  { workflow: 'bare', manager: 'pnpm', appRoot: '.' },
  { workflow: 'managed', manager: 'npm', appRoot: 'apps/mobile' },
];
const TARGETS: Target[] = process.env.EXPO_ENGINE === 'all' ? ['simulator', 'device', 'Android'] : ['device'];

for (const shape of SHAPES) {
  const { workflow, manager, appRoot } = shape;
  test(`a ${workflow} project with ${manager}${appRoot === '.' ? '' : `, in ${appRoot} of a workspace,`} is built for ${TARGETS.join(', ')}, sees its files, and asks the registry alone`, {
    timeout: TEST_MS * TARGETS.length,
  }, async () => {
    using vm = await engineVm({
      withinMs: BUILD_WITHIN_MS,
      programs: manager === 'pnpm' ? await pnpmFolder() : undefined,
    });
    const project = join(vm.dir, 'project');
    await makeRealProject(project, shape);
    const material = join(vm.dir, 'material');
    mkdirSync(material);
    const signing = await makeSigningMaterial(material, TARGET[workflow], BUNDLE_ID);
    writeFileSync(join(vm.standIns, 'fingerprint'), signing.fingerprint);

    for (const target of TARGETS) {
      using network = await watchNetwork(join(vm.dir, `trace-${target}`));
      const build = await vm.start(project, { ...buildOf(target, shape, signing), env: network.env }, network.wrapper);
      const code = await build.ended();
      expect(code, build.log().slice(-8_000)).toBe(0);
      const app = { simulator: 'Tiny.app.tar.gz', device: 'Tiny.ipa', Android: 'app-release.aab' }[target];
      expect(build.artifacts()).toContain(app);
      if (target !== 'simulator') expect(build.artifact(app)).toEqual(readFileSync(join(vm.standIns, 'app')));

      const files = readdirSync(build.source, { recursive: true, encoding: 'utf8' }).filter(
        (name) => !name.includes('node_modules'),
      );
      const contents = (name: RegExp) =>
        files.filter((file) => name.test(file)).map((file) => readFileSync(join(build.source, file), 'latin1'));
      const bundle = readFileSync(join(vm.standIns, 'bundle'), 'latin1');
      for (const greeting of Object.values(GREETINGS)) expect(bundle.includes(greeting), greeting).toBe(true);
      rmSync(join(vm.standIns, 'bundle'));
      if (workflow === 'managed') {
        const copied =
          target === 'Android'
            ? contents(/android\/app\/google-services\.json$/)
            : contents(/ios\/.*\/GoogleService-Info\.plist$/);
        expect(copied.join()).toContain(target === 'Android' ? GREETINGS.committed : GREETINGS.ignored);
      }
      // The second build of a VM may have all packages in its store.
      expect(network.hosts().filter((host) => host !== 'registry.npmjs.org:443')).toEqual([]);
      expect(network.connections() ?? []).toEqual([]);
      expect({ processes: vm.processes(), files: vm.filesWith(signing.secrets) }).toEqual({ processes: [], files: [] });
    }
  });
}
