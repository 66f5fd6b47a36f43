/**
 * Builds profiles as the whole agent does: the real agent, a simulated VM, the guest scripts and Expo's real
 * engine, beside a stand-in controller. Only what a Mac has is a stand-in.
 */
import { appendFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { ArtifactGlob, type Assignment } from '#contract';
import { BUNDLE_ID, makeIdentity, makeP12, makeProfile, PASSWORD } from '../client/signing/material.ts';
import { agentHost } from '../worker-agent/factories/agent-host.ts';
import { standInController } from '../worker-agent/factories/stand-in-controller.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { ENGINE, installed } from './engine-packages.ts';
import { writeTinyProject } from './tiny-project.ts';

const STAND_IN = join(import.meta.dirname, 'stand-ins/stand-in.sh');
const PRELOAD = join(import.meta.dirname, 'stand-ins/preload.cjs');
const STAND_INS = ['fastlane', 'pod', 'security', 'codesign', 'xcodebuild', 'xcrun', 'java', 'step'];
const TOKEN = 'token-of-the-build-0123456789';
const base64 = (content: string | Buffer) => Buffer.from(content).toString('base64');

/** An image with the engine and the stand-ins. */
async function imageWithEngine(root: string, fingerprint = '') {
  const standIns = join(root, 'stand-ins');
  const bin = join(root, 'usr/local/bin');
  const modules = join(root, 'opt/homebrew/lib/node_modules');
  for (const folder of [bin, modules, ...['began', 'fail', 'hang'].map((name) => join(standIns, name))])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(standIns, 'app'), 'the app\n');
  writeFileSync(join(standIns, 'fingerprint'), fingerprint);
  for (const name of STAND_INS) symlinkSync(STAND_IN, join(bin, name));
  const name = ENGINE.slice(0, ENGINE.lastIndexOf('@'));
  symlinkSync(join(await installed([ENGINE]), 'node_modules', name), join(modules, name));
  appendFileSync(
    join(root, 'Users/admin/.bash_profile'),
    `export STAND_INS="$TARTBEAT_ROOT/stand-ins" NODE_OPTIONS='--require=${PRELOAD}'\n`,
  );
}

async function tinySource(profile: object): Promise<Buffer> {
  using dir = temporaryDir();
  const project = join(dir.path, 'project');
  writeTinyProject(project);
  const plain = join(project, 'ios/Tiny.xcodeproj/project.pbxproj');
  writeFileSync(plain, readFileSync(plain, 'utf8').replaceAll('dev.example.tiny', BUNDLE_ID));
  const eas = { cli: { appVersionSource: 'remote' }, build: { production: { autoIncrement: true, ...profile } } };
  writeFileSync(join(project, 'eas.json'), JSON.stringify(eas));
  const { stdout } = await execa('tar', ['-czf', '-', '-C', project, '.'], { encoding: 'buffer' });
  return Buffer.from(stdout);
}

async function built(
  profile: object,
  { secretFiles = {}, fingerprint }: { secretFiles?: Record<string, string>; fingerprint?: string } = {},
) {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  await imageWithEngine(host.imageRoot, fingerprint);
  const assigned: Partial<Assignment> = { profile: 'production', platform: 'ios', origin: { commit: 'c'.repeat(40) } };
  const build = controller.submit({
    id: 'b1',
    ...{ assigned, secretFiles, source: await tinySource(profile) },
    env: { SOME_TOKEN: TOKEN, P12_PASSWORD: PASSWORD, MODE: 'plain' },
    secretNames: ['SOME_TOKEN', 'P12_PASSWORD'],
    artifactGlobs: [ArtifactGlob.parse({ glob: 'ios/**', required: false })],
    timeouts: { buildTimeoutMs: 300_000, noOutputTimeoutMs: 120_000 },
  });
  await using agent = host.startAgent();
  await agent.until({ type: 'slot_free' }, 300_000);
  const log = build.log.toString();
  for (const secret of [TOKEN, PASSWORD, JSON.stringify(PASSWORD).slice(1, -1)]) {
    expect(log).not.toContain(secret);
    expect(agent.said()).not.toContain(secret);
  }
  const { artifacts = [] } = build.reports.at(-1) as { artifacts?: { name: string; sha256: string }[] };
  const names = artifacts.map(({ name }) => name).sort();
  const artifact = (name: string) => controller.blobs.get(artifacts.find((one) => one.name === name)!.sha256)!;
  return { build, log, names, artifact, said: agent.said() };
}

test('an app for the simulator is built without any credentials, and comes back under its own name', async () => {
  const { build, log, names } = await built({ ios: { simulator: true } });
  expect(build.status, log).toBe('succeeded');
  expect(names.filter((name) => !name.startsWith('ios/'))).toEqual([
    'Tiny.app.dSYM.tar.gz',
    'Tiny.app.tar.gz',
    'main.jsbundle.map',
  ]);
  expect(log).toMatch(/^\[tartbeat\] .*without an Expo account/);
  expect(log).toContain('gets no build number');
  expect(build.numbersAsked).toEqual([]);
});

test('an app for devices is signed with secret files, and gets the number of the counter', async () => {
  const identity = makeIdentity();
  const secretFiles = {
    'ios/dist.p12': base64(makeP12(identity)),
    'ios/tiny.mobileprovision': base64(makeProfile(identity)),
  };
  const { build, log, names, artifact, said } = await built({}, { secretFiles, fingerprint: identity.sha1 });
  expect(build.status, `${log}\n${said}`).toBe('succeeded');
  expect(names).toContain('Tiny.ipa');
  expect(artifact('Tiny.ipa').toString()).toBe('the app\n');
  // The globs of the request see what was built, and no secret file.
  expect(artifact('ios/Tiny/Info.plist').toString()).toContain('<string>42</string>');
  expect(names).toContain('ios/Podfile');
  expect(names.filter((name) => /p12|mobileprovision/.test(name))).toEqual([]);
  expect(build.numbersAsked).toEqual([{ app: { id: BUNDLE_ID, version: '1.0.0', buildNumber: 1 }, increment: true }]);
});
