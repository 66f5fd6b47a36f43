/** Makes the files of small projects of each shape: managed, bare with a widget, and an app in a monorepo. */

export const PROJECT_ID = '11111111-1111-4111-8111-111111111111';
export const APP_ID = 'dev.example.tiny';

type Files = Record<string, string>;

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

export const appJson = (more: Record<string, unknown> = {}) =>
  json({
    expo: {
      name: 'Tiny App',
      slug: 'example',
      version: '1.2.0',
      sdkVersion: '57.0.0',
      ios: { bundleIdentifier: APP_ID, buildNumber: '7', infoPlist: { ITSAppUsesNonExemptEncryption: false } },
      android: { package: APP_ID, versionCode: 7 },
      extra: { eas: { projectId: PROJECT_ID } },
      ...more,
    },
  });

export const managedProject = (): Files => ({
  'package.json': json({ name: 'tiny', version: '1.0.0' }),
  'app.json': appJson(),
  '.gitignore': 'node_modules/\n/ios\n/android\n',
});

export const monorepo = (): Files => ({
  'package.json': json({ name: 'root', private: true, workspaces: ['apps/*'] }),
  'package-lock.json': json({ name: 'root', lockfileVersion: 3, requires: true, packages: {} }),
  ...Object.fromEntries(Object.entries(managedProject()).map(([name, text]) => [`apps/mobile/${name}`, text])),
});

const scheme = (target: string, product: string) => `<?xml version="1.0" encoding="UTF-8"?>
<Scheme LastUpgradeVersion="1130" version="1.3">
  <BuildAction parallelizeBuildables="YES">
    <BuildActionEntries>
      <BuildActionEntry buildForArchiving = "YES">
        <BuildableReference
          BuildableIdentifier = "primary"
          BlueprintIdentifier = "A1"
          BuildableName = "${product}"
          BlueprintName = "${target}"
          ReferencedContainer = "container:Tiny.xcodeproj">
        </BuildableReference>
      </BuildActionEntry>
    </BuildActionEntries>
  </BuildAction>
  <ArchiveAction buildConfiguration = "Release" revealArchiveInOrganizer = "YES"></ArchiveAction>
</Scheme>
`;

const target = (id: string, name: string, type: string, dependencies: string) =>
  `${id} /* ${name} */ = { isa = PBXNativeTarget; buildConfigurationList = L${id}; buildPhases = ( ); dependencies = ( ${dependencies} ); name = "${name}"; productName = "${name}"; productType = "com.apple.product-type.${type}"; };`;
const configurations = (id: string, settings: string) =>
  ['Debug', 'Release']
    .map(
      (name) =>
        `${name[0]}${id} /* ${name} */ = { isa = XCBuildConfiguration; buildSettings = { ${settings} }; name = ${name}; };`,
    )
    .join('\n');
const list = (id: string) =>
  `L${id} = { isa = XCConfigurationList; buildConfigurations = ( D${id} /* Debug */, R${id} /* Release */, ); defaultConfigurationName = Release; };`;
const dependency = (id: string, on: string) =>
  `${id} /* PBXTargetDependency */ = { isa = PBXTargetDependency; target = ${on} /* ${on} */; };`;

export const XCODE_PROJECT = `// !$*UTF8*$!
{
  archiveVersion = 1;
  classes = { };
  objectVersion = 46;
  objects = {
/* Begin PBXNativeTarget section */
    ${target('A1', 'Tiny', 'application', 'T2 /* PBXTargetDependency */, T3 /* PBXTargetDependency */,')}
    ${target('A2', 'Tiny Widget', 'app-extension', '')}
    ${target('A3', 'Kit', 'framework', '')}
/* End PBXNativeTarget section */
/* Begin PBXProject section */
    C1 /* Project object */ = { isa = PBXProject; attributes = { TargetAttributes = { A1 = { }; }; }; buildConfigurationList = LC; targets = ( A1 /* Tiny */, A2, A3, ); };
/* End PBXProject section */
/* Begin PBXTargetDependency section */
    ${dependency('T2', 'A2')}
    ${dependency('T3', 'A3')}
/* End PBXTargetDependency section */
/* Begin XCBuildConfiguration section */
    ${configurations('A1', `CURRENT_PROJECT_VERSION = 12; MARKETING_VERSION = 3.1.0; INFOPLIST_FILE = Tiny/Info.plist; PRODUCT_BUNDLE_IDENTIFIER = "${APP_ID}";`)}
    ${configurations('A2', `PRODUCT_BUNDLE_IDENTIFIER = ${APP_ID}.widget; INFOPLIST_FILE = Tiny/Info.plist;`)}
    ${configurations('A3', 'PRODUCT_NAME = Kit;')}
    ${configurations('C', 'SDKROOT = iphoneos;')}
/* End XCBuildConfiguration section */
/* Begin XCConfigurationList section */
    ${['A1', 'A2', 'A3', 'C'].map(list).join('\n    ')}
/* End XCConfigurationList section */
  };
  rootObject = C1 /* Project object */;
}
`;

const INFO = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>CFBundleVersion</key><string>$(CURRENT_PROJECT_VERSION)</string>
<key>CFBundleShortVersionString</key><string>$(MARKETING_VERSION)</string></dict></plist>
`;

export const bareProject = (): Files => ({
  'package.json': json({ name: 'tiny', version: '1.0.0' }),
  'app.json': appJson({ ios: {}, android: {} }),
  '.gitignore': 'node_modules/\nios/Pods/\n',
  'ios/Podfile': "platform :ios, '15.1'\n",
  'ios/Tiny/Info.plist': INFO,
  'ios/Tiny/AppDelegate.swift': '',
  'ios/Tiny.xcodeproj/project.pbxproj': XCODE_PROJECT,
  'ios/Tiny.xcodeproj/xcshareddata/xcschemes/Tiny.xcscheme': scheme('Tiny', 'Tiny.app'),
  'ios/Tiny.xcodeproj/xcshareddata/xcschemes/A tvOS.xcscheme': scheme('Tiny', 'Tiny.app'),
  'android/app/build.gradle': `android {
  namespace '${APP_ID}'
  defaultConfig {
    applicationId '${APP_ID}'
    // versionCode 1
    versionCode 12
    versionName "3.1.0"
  }
}
`,
});
