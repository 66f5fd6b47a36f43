/**
 * Builds an unmodified Expo project with real packages, the real agent and the real controller, without a
 * Mac.
 */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { startFarm } from '../../local/farm/farm.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { unpackTemplate } from './projects/template.ts';

const BUILD_WITHIN_MS = 8 * 60_000;
const HERMES_MAGIC = Buffer.from('c61fbc03c103191f', 'hex');
/** React Native alone is larger. */
const BUNDLE_MIN_BYTES = 200_000;

test('an unmodified Expo project is exported in a VM and its bundle comes back', async () => {
  using dir = temporaryDir();
  const { projectDir, install } = await unpackTemplate(dir.path);
  await using farm = await startFarm();
  const command = `${install} && npx expo export --platform ios`;
  const submittedAt = performance.now();
  const artifacts = ['dist/metadata.json', 'dist/_expo/static/js/ios/*'];
  const { id } = await farm.submit({ command, platform: 'ios', artifacts }, projectDir);
  const build = await farm.waitFor(id, ({ endedAt }) => endedAt !== null, { withinMs: BUILD_WITHIN_MS });
  if (build.status !== 'succeeded') {
    let log = '';
    for await (const text of farm.api.followLog(id, AbortSignal.timeout(20_000))) log += text;
    throw new Error(`${build.status}: ${JSON.stringify(build.verdict, null, 2)}\n${log.slice(-8_000)}`);
  }
  const tookMs = performance.now() - submittedAt;

  const files = new Map<string, Buffer>();
  for (const { name, sha256, size } of build.artifacts) {
    const file = await farm.api.download(id, name, join(dir.path, 'artifacts', name));
    expect(file).toMatchObject({ sha256, sizeBytes: size });
    files.set(name, await readFile(file.path));
    console.log(`artifact ${name}, ${size} bytes, sha256 ${sha256}`);
  }
  console.log(`${command}: ${(tookMs / 1_000).toFixed(1)} s from submission to verdict`);

  const metadata = JSON.parse(files.get('dist/metadata.json')!.toString('utf8'));
  const bundle = files.get(`dist/${metadata.fileMetadata.ios.bundle}`)!;
  expect(bundle.length).toBeGreaterThan(BUNDLE_MIN_BYTES);
  // Hermes bytecode, or JavaScript where the template has it turned off; the app's own words are in both.
  const isHermes = bundle.subarray(0, HERMES_MAGIC.length).equals(HERMES_MAGIC);
  expect(isHermes || bundle.includes('__d(function'), basename(metadata.fileMetadata.ios.bundle)).toBe(true);
  expect(bundle.includes('Open up App.js to start working on your app!')).toBe(true);

  await farm.waitForWorker('idle');
  expect(await farm.vms()).toEqual([]);
});
