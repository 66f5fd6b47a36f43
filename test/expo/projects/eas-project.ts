/**
 * Writes a small project for the tests of the engine `eas`. Its package `expo` is a stand-in that can only
 * say what the app config is, so nothing is downloaded.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PROJECT_ID } from '../factories/expo-api.ts';

export const BUNDLE_ID = 'dev.example.tiny';

/**
 * Stands in for the CLI of the package `expo`: prints the app config, and makes a native folder for Android.
 */
const EXPO_CLI = `#!/usr/bin/env node
const { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } = require('node:fs');
const { expo } = JSON.parse(readFileSync('app.json', 'utf8'));
const exp = existsSync('app.config.js') ? require(require('node:path').resolve('app.config.js'))({ config: expo }) : expo;
if (process.argv[2] === 'config') console.log(JSON.stringify(process.argv.includes('--full') ? { exp } : exp));
if (process.argv[2] === 'prebuild') {
  if (existsSync('android')) throw new Error('there is a native folder already');
  mkdirSync('android/app', { recursive: true });
  writeFileSync('android/gradlew', '#!/bin/sh\\nexec java -jar gradle-wrapper.jar "$@"\\n', { mode: 0o755 });
  writeFileSync('android/app/build.gradle', 'android {}\\n');
  copyFileSync(exp.android.googleServicesFile, 'android/app/google-services.json');
}
`;

const HOOK = `node -e "const fs = require('fs');
for (const name of ['.env', 'google-services.json', '.git/HEAD', 'seen.txt'])
  console.log('hook sees', name, fs.existsSync(name) ? fs.readFileSync(name, 'utf8').trim() : 'nothing');
console.log('hook has', process.env.FROM_EXPO, process.env.FROM_PROFILE, process.env.A_SECRET, process.env.EAS_BUILD_GIT_COMMIT_HASH, process.env.EAS_NO_VCS, process.env.EXPO_TOKEN);"`
  .split('\n')
  .join(' ');

/** `.` as app root makes one package, anything else a workspace of npm. */
export function writeEasProject(dir: string, options: EasProject = {}): void {
  const { appRoot = '.', managed = false, expo = {}, eas = {}, files = {} } = options;
  const put = (path: string, content: unknown) => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2);
    writeFileSync(join(dir, path), text, { mode: path.endsWith('cli') || path.endsWith('gradlew') ? 0o755 : 0o644 });
  };
  const inApp = (path: string) => join(appRoot, path);
  const app = {
    name: 'tiny',
    version: '1.0.0',
    private: true,
    dependencies: { expo: appRoot === '.' ? 'file:vendor/expo' : 'file:../../vendor/expo' },
    scripts: { 'eas-build-pre-install': HOOK },
  };
  const expoPackage = { name: 'expo', version: '57.0.0', bin: { expo: 'bin/cli' } };
  const link = { 'node_modules/expo': { resolved: 'vendor/expo', link: true }, 'vendor/expo': expoPackage };
  put('vendor/expo/package.json', expoPackage);
  put('vendor/expo/bin/cli', EXPO_CLI);
  put(inApp('package.json'), app);
  if (appRoot === '.') {
    put('package-lock.json', {
      name: 'tiny',
      version: '1.0.0',
      lockfileVersion: 3,
      requires: true,
      packages: { '': app, ...link },
    });
  } else {
    const whole = { name: 'whole', version: '1.0.0', private: true, workspaces: [appRoot] };
    put('package.json', whole);
    const packages = { '': whole, [appRoot]: app, 'node_modules/tiny': { resolved: appRoot, link: true }, ...link };
    put('package-lock.json', { name: 'whole', version: '1.0.0', lockfileVersion: 3, requires: true, packages });
  }
  put(inApp('app.json'), {
    expo: {
      name: 'Tiny',
      slug: 'tiny',
      version: '1.2.3',
      sdkVersion: '57.0.0',
      ios: { bundleIdentifier: BUNDLE_ID },
      android: { package: BUNDLE_ID },
      extra: { eas: { projectId: PROJECT_ID } },
      ...expo,
    },
  });
  put(inApp('eas.json'), eas);
  if (!managed) {
    put(inApp('android/gradlew'), '#!/bin/sh\nexec java -jar gradle-wrapper.jar "$@"\n');
    put(inApp('android/app/build.gradle'), `android {\n  defaultConfig {\n    applicationId '${BUNDLE_ID}'\n  }\n}\n`);
    for (const [path, content] of Object.entries(IOS_PROJECT)) put(inApp(path), content);
  }
  for (const [path, content] of Object.entries(files)) put(path, content);
}

export interface EasProject {
  appRoot?: string;
  /** Whether the native folders are left out. */
  managed?: boolean;
  /** Fields that replace those of the app config. */
  expo?: Record<string, unknown>;
  eas?: Record<string, unknown>;
  files?: Record<string, string>;
}

/** As small as the engine and eas-cli accept: one scheme, one target, one configuration. */
const PBXPROJ = `// !$*UTF8*$!
{ archiveVersion = 1; classes = { }; objectVersion = 46; objects = {
/* Begin PBXNativeTarget section */
  A1 /* Tiny */ = { isa = PBXNativeTarget; buildConfigurationList = B1; buildPhases = ( ); dependencies = ( );
    name = Tiny; productName = Tiny; productType = "com.apple.product-type.application"; };
/* End PBXNativeTarget section */
/* Begin PBXProject section */
  C1 /* Project object */ = { isa = PBXProject; attributes = { TargetAttributes = { A1 = { }; }; };
    buildConfigurationList = B2; targets = ( A1 /* Tiny */, ); };
/* End PBXProject section */
/* Begin XCBuildConfiguration section */
  D1 /* Release */ = { isa = XCBuildConfiguration; name = Release;
    buildSettings = { INFOPLIST_FILE = Tiny/Info.plist; PRODUCT_BUNDLE_IDENTIFIER = ${BUNDLE_ID}; }; };
  D2 /* Release */ = { isa = XCBuildConfiguration; name = Release; buildSettings = { SDKROOT = iphoneos; }; };
/* End XCBuildConfiguration section */
/* Begin XCConfigurationList section */
  B1 = { isa = XCConfigurationList; buildConfigurations = ( D1 /* Release */, ); defaultConfigurationName = Release; };
  B2 = { isa = XCConfigurationList; buildConfigurations = ( D2 /* Release */, ); defaultConfigurationName = Release; };
/* End XCConfigurationList section */
}; rootObject = C1 /* Project object */; }
`;

const SCHEME = `<?xml version="1.0" encoding="UTF-8"?>
<Scheme version="1.3"><BuildAction><BuildActionEntries><BuildActionEntry buildForArchiving="YES">
<BuildableReference BuildableIdentifier="primary" BlueprintIdentifier="A1" BuildableName="Tiny.app"
 BlueprintName="Tiny" ReferencedContainer="container:Tiny.xcodeproj"/></BuildActionEntry></BuildActionEntries>
</BuildAction><ArchiveAction buildConfiguration="Release"/></Scheme>
`;

const INFO_PLIST = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>CFBundleVersion</key><string>1</string>
<key>CFBundleShortVersionString</key><string>1.0.0</string></dict></plist>
`;

const IOS_PROJECT = {
  'ios/Podfile': "platform :ios, '15.1'\n",
  'ios/Tiny/Info.plist': INFO_PLIST,
  'ios/Tiny.xcodeproj/xcshareddata/xcschemes/Tiny.xcscheme': SCHEME,
  'ios/Tiny.xcodeproj/project.pbxproj': PBXPROJ,
};
