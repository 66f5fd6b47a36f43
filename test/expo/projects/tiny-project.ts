/**
 * Writes the smallest project that the engine builds as a native one. It has no dependencies, so a build
 * takes 2 s and no network. Its scripts call the stand-in `step`, so that each phase can fail or hang.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const hooks = ['pre-install', 'post-install', 'pre-upload-artifacts', 'on-success', 'on-error', 'on-complete'];
const manifest = {
  name: 'tiny',
  version: '1.0.0',
  scripts: {
    preinstall: 'step install',
    ...Object.fromEntries(hooks.map((hook) => [`eas-build-${hook}`, `step ${hook}`])),
  },
};
const lock = {
  name: 'tiny',
  version: '1.0.0',
  lockfileVersion: 3,
  requires: true,
  packages: { '': { name: 'tiny', version: '1.0.0' } },
};

/** Runs in the engine's own process, so a step that hangs here stops the engine itself. */
const APP_CONFIG = `
require('node:child_process').execFileSync('step', ['app-config'], { stdio: 'inherit' });
module.exports = { expo: { name: 'Tiny', slug: 'tiny', ios: { bundleIdentifier: 'dev.example.tiny' }, android: { package: 'dev.example.tiny' } } };
`;

const SCHEME = `<?xml version="1.0" encoding="UTF-8"?>
<Scheme version="1.3">
  <BuildAction><BuildActionEntries><BuildActionEntry buildForArchiving="YES">
    <BuildableReference BuildableIdentifier="primary" BlueprintIdentifier="A1" BuildableName="Tiny.app" BlueprintName="Tiny" ReferencedContainer="container:Tiny.xcodeproj"/>
  </BuildActionEntry></BuildActionEntries></BuildAction>
  <ArchiveAction buildConfiguration="Release"/>
</Scheme>
`;

const list = (configuration: string) =>
  `{ isa = XCConfigurationList; buildConfigurations = ( ${configuration} /* Release */, ); defaultConfigurationName = Release; };`;

const PROJECT = `// !$*UTF8*$!
{
  archiveVersion = 1;
  classes = { };
  objectVersion = 46;
  objects = {
/* Begin PBXNativeTarget section */
    A1 /* Tiny */ = { isa = PBXNativeTarget; buildConfigurationList = B1; buildPhases = ( ); dependencies = ( ); name = Tiny; productName = Tiny; productType = "com.apple.product-type.application"; };
/* End PBXNativeTarget section */
/* Begin PBXProject section */
    C1 /* Project object */ = { isa = PBXProject; attributes = { TargetAttributes = { A1 = { }; }; }; buildConfigurationList = B2; targets = ( A1 /* Tiny */, ); };
/* End PBXProject section */
/* Begin XCBuildConfiguration section */
    D1 /* Release */ = { isa = XCBuildConfiguration; buildSettings = { INFOPLIST_FILE = Tiny/Info.plist; PRODUCT_BUNDLE_IDENTIFIER = dev.example.tiny; }; name = Release; };
    D2 /* Release */ = { isa = XCBuildConfiguration; buildSettings = { SDKROOT = iphoneos; }; name = Release; };
/* End XCBuildConfiguration section */
/* Begin XCConfigurationList section */
    B1 = ${list('D1')}
    B2 = ${list('D2')}
/* End XCConfigurationList section */
  };
  rootObject = C1 /* Project object */;
}
`;

const INFO = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>CFBundleVersion</key><string>1</string><key>CFBundleShortVersionString</key><string>1.0.0</string></dict></plist>
`;

/** Stands in for the CLI of the package `expo`, as far as a build of the tiny project needs it. */
const EXPO_CLI = `#!/usr/bin/env node
const { execFileSync } = require('node:child_process');
const { cpSync } = require('node:fs');
const { join, resolve } = require('node:path');
const [command] = process.argv.slice(2);
if (command === 'config') console.log(JSON.stringify({ exp: require(resolve('app.config.js')).expo }));
else execFileSync('step', [command.replace(':', '-')], { stdio: 'inherit' });
if (command === 'prebuild') cpSync(join(__dirname, '../native-ios'), 'ios', { recursive: true });
`;

/**
 * Gives the tiny project a stand-in of the package `expo`, in a folder of its own, so nothing is downloaded.
 */
export function addExpo(dir: string): void {
  const expo = { name: 'expo', version: '56.0.0', bin: { expo: 'bin/cli' } };
  const app = { ...manifest, dependencies: { expo: 'file:vendor/expo' } };
  const { name, version, dependencies } = app;
  const packages = {
    '': { name, version, dependencies },
    'node_modules/expo': { resolved: 'vendor/expo', link: true },
    'vendor/expo': expo,
  };
  mkdirSync(join(dir, 'vendor/expo/bin'), { recursive: true });
  cpSync(join(dir, 'ios'), join(dir, 'vendor/expo/native-ios'), { recursive: true });
  writeFileSync(join(dir, 'vendor/expo/package.json'), JSON.stringify(expo));
  writeFileSync(join(dir, 'vendor/expo/bin/cli'), EXPO_CLI, { mode: 0o755 });
  writeFileSync(join(dir, 'package.json'), JSON.stringify(app));
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ ...lock, packages }));
}

export function writeTinyProject(dir: string): void {
  const put = (name: string, content: string, mode = 0o644) => {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content, { mode });
  };
  put('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
  put('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
  put('app.config.js', APP_CONFIG);
  put('eas.json', JSON.stringify({ build: { production: {} } }));
  put('notes/build notes.txt', 'built\n');
  put('ios/Podfile', "platform :ios, '15.1'\n");
  put('ios/Tiny/Info.plist', INFO);
  put('ios/Tiny.xcodeproj/xcshareddata/xcschemes/Tiny.xcscheme', SCHEME);
  put('ios/Tiny.xcodeproj/project.pbxproj', PROJECT);
  put('android/gradlew', '#!/bin/sh\nexec java -jar gradle-wrapper.jar "$@"\n', 0o755);
  put('android/app/build.gradle', 'android { }\n');
}
