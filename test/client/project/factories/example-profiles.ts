/** Lists profiles of eas.json as projects have them, and the projects that each is tried in. */
import { bareProject, managedProject, monorepo } from './example-projects.ts';

/** Profiles as projects have them. `extends` and platform fields are in most. */
export const PROFILES: Record<string, object> = {
  base: {
    node: '22.13.0',
    env: { API_URL: 'https://api.example.com', EMPTY_BY_DEFAULT: '0' },
    withoutCredentials: true,
    ios: { simulator: true },
  },
  development: { extends: 'base', developmentClient: true, distribution: 'internal', channel: 'development' },
  'development-simulator': {
    extends: 'development',
    ios: { simulator: true, buildConfiguration: 'Debug' },
    android: { gradleCommand: ':app:assembleDebug' },
  },
  preview: {
    extends: 'base',
    distribution: 'internal',
    channel: 'preview',
    env: { API_URL: 'https://preview.example.com' },
    android: { buildType: 'apk' },
  },
  production: {
    extends: 'base',
    channel: 'production',
    autoIncrement: true,
    ios: { autoIncrement: 'buildNumber' },
    android: { buildType: 'app-bundle', autoIncrement: 'versionCode' },
  },
  tools: {
    extends: 'base',
    pnpm: '10.0.0',
    yarn: '4.9.1',
    bun: '1.2.0',
    corepack: true,
    ios: { cocoapods: '1.16.2', fastlane: '2.228.0', bundler: '2.5.0', image: 'latest' },
    android: { ndk: '26.1.10909125', image: 'auto' },
  },
  paths: {
    extends: 'base',
    buildArtifactPaths: ['reports/**', '../logs/*.log'],
    ios: { applicationArchivePath: 'ios/out/*.app' },
    android: { artifactPath: 'android/out/*.apk' },
  },
  cached: {
    extends: 'base',
    cache: { key: 'v1', disabled: false, customPaths: ['ios/Pods'] },
    uploadSourceMaps: true,
    prebuildCommand: 'prebuild --clean',
  },
  environment: { extends: 'base', environment: 'preview' },
  gradle: {
    extends: 'base',
    distribution: 'internal',
    ios: { scheme: 'Tiny' },
    android: { gradleCommand: ':app:assembleRelease --info', image: 'sdk-57' },
  },
  signed: {
    credentialsSource: 'local',
    channel: 'production',
    ios: { buildConfiguration: 'Release' },
    android: { env: { FLAVOR: 'store' } },
  },
  'signed-retired': {
    extends: 'signed',
    resourceClass: 'large',
    releaseChannel: 'old',
    expoCli: '6.0.0',
    ios: { resourceClass: 'm-medium' },
  },
};

/** The projects in which each profile is tried, on both platforms: 24 + 12 + 4 = 40. */
export const SHAPES: readonly {
  shape: string;
  files: Record<string, string>;
  appRoot: string;
  source: 'remote' | 'local';
  profiles: string[];
}[] = [
  { shape: 'managed', files: managedProject(), appRoot: '.', source: 'remote', profiles: Object.keys(PROFILES) },
  {
    shape: 'bare',
    files: bareProject(),
    appRoot: '.',
    source: 'local',
    profiles: ['base', 'development-simulator', 'production', 'paths', 'gradle', 'signed'],
  },
  { shape: 'monorepo', files: monorepo(), appRoot: 'apps/mobile', source: 'remote', profiles: ['preview', 'signed'] },
];
