/**
 * Makes projects as a team has them: from npm's templates, with identifiers, a lock file, and values that
 * come from files, of which git ignores some.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { extract } from 'tar';
import { installed } from '../factories/engine-packages.ts';

/** Templates of one SDK; blank is the one that expo-export.test.ts downloads too. */
const TEMPLATES = {
  managed: 'expo-template-blank@56.0.26',
  bare: 'expo-template-bare-minimum@56.0.37',
} as const;
export const SDK_VERSION = '56.0.0';
const PNPM = 'pnpm@10.34.9';
const TIMEOUT_MS = 300_000;

export interface Shape {
  workflow: keyof typeof TEMPLATES;
  manager: 'npm' | 'pnpm';
  /** The app's folder, with a workspace above it; `.` without one. */
  appRoot: string;
}

/** The values that the app must see, from the files `.env` (committed) and `.env.local` (ignored). */
export const GREETINGS = { committed: 'greeting-of-the-committed-file', ignored: 'greeting-of-the-ignored-file' };

/** The folder that has pnpm. */
export const pnpmFolder = async (): Promise<string> => join(await installed([PNPM]), 'node_modules/.bin');

/** The target that the engine signs: the name without anything but letters and digits. */
export const TARGET = { managed: 'TinyApp', bare: 'HelloWorld' } as const;
export const BUNDLE_ID = 'dev.example.tinyapp';

export async function makeRealProject(dir: string, { workflow, manager, appRoot }: Shape): Promise<void> {
  const app = join(dir, appRoot);
  mkdirSync(app, { recursive: true });
  const packing = ['pack', TEMPLATES[workflow], '--json', '--pack-destination', dirname(dir)];
  const { stdout } = await execa('npm', packing, { cwd: dir, timeout: TIMEOUT_MS });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  await extract({ file: join(dirname(dir), filename), cwd: app, strip: 1 });

  // biome-ignore lint/suspicious/noExplicitAny: files of the template, which the test edits
  const edit = (name: string, change: (json: Record<string, any>) => void) => {
    const json = existsSync(join(app, name)) ? JSON.parse(readFileSync(join(app, name), 'utf8')) : {};
    change(json);
    writeFileSync(join(app, name), `${JSON.stringify(json, null, 2)}\n`);
  };
  edit('package.json', (json) => {
    json.name = 'tiny-app';
  });
  edit('app.json', (json) => {
    json.expo = { ...json.expo, name: workflow === 'managed' ? 'Tiny App' : 'HelloWorld', slug: 'tiny-app' };
    json.expo.ios = { ...json.expo.ios, bundleIdentifier: BUNDLE_ID, googleServicesFile: './GoogleService-Info.plist' };
    json.expo.android = { ...json.expo.android, package: BUNDLE_ID, googleServicesFile: './google-services.json' };
  });
  edit('eas.json', (json) => {
    json.build = { production: {} };
  });
  const ignored = existsSync(join(app, 'gitignore')) ? readFileSync(join(app, 'gitignore'), 'utf8') : '';
  writeFileSync(join(app, '.gitignore'), `${ignored}\n.env*.local\nGoogleService-Info.plist\n`);
  rmSync(join(app, 'gitignore'), { force: true });
  writeFileSync(join(app, '.env'), `EXPO_PUBLIC_COMMITTED=${GREETINGS.committed}\n`);
  writeFileSync(join(app, '.env.local'), `EXPO_PUBLIC_IGNORED=${GREETINGS.ignored}\n`);
  writeFileSync(
    join(app, 'google-services.json'),
    JSON.stringify({ project_info: { project_id: GREETINGS.committed } }),
  );
  writeFileSync(join(app, 'GoogleService-Info.plist'), plist('PROJECT_ID', GREETINGS.ignored));
  const screen = ['App.js', 'App.tsx'].find((name) => existsSync(join(app, name)));
  if (!screen) throw new Error('this template has no App.js');
  const text = readFileSync(join(app, screen), 'utf8');
  writeFileSync(
    join(app, screen),
    `${text}\nconsole.log(process.env.EXPO_PUBLIC_COMMITTED, process.env.EXPO_PUBLIC_IGNORED);\n`,
  );
  if (appRoot !== '.') writeWorkspace(dir, appRoot, manager);
  await writeLockFile(dir, manager);
}

const plist = (key: string, value: string) => `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>${key}</key><string>${value}</string></dict></plist>
`;

function writeWorkspace(dir: string, appRoot: string, manager: Shape['manager']): void {
  const folders = [appRoot, 'packages/*'];
  mkdirSync(join(dir, 'packages/shared'), { recursive: true });
  writeFileSync(
    join(dir, 'packages/shared/package.json'),
    JSON.stringify({ name: 'shared', version: '1.0.0', main: 'index.js' }),
  );
  writeFileSync(join(dir, 'packages/shared/index.js'), "exports.shared = 'text-of-the-shared-package';\n");
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({ name: 'workspace', private: true, ...(manager === 'npm' && { workspaces: folders }) }),
  );
  if (manager === 'pnpm') writeFileSync(join(dir, 'pnpm-workspace.yaml'), `packages: ${JSON.stringify(folders)}\n`);
  const manifest = JSON.parse(readFileSync(join(dir, appRoot, 'package.json'), 'utf8'));
  manifest.dependencies.shared = manager === 'npm' ? '1.0.0' : 'workspace:*';
  writeFileSync(join(dir, appRoot, 'package.json'), JSON.stringify(manifest, null, 2));
  const screen = join(dir, appRoot, existsSync(join(dir, appRoot, 'App.js')) ? 'App.js' : 'App.tsx');
  const text = readFileSync(screen, 'utf8');
  writeFileSync(screen, `${text}\nconsole.log(require('shared').shared);\n`);
}

async function writeLockFile(dir: string, manager: Shape['manager']): Promise<void> {
  if (manager === 'npm') {
    await execa('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], {
      cwd: dir,
      timeout: TIMEOUT_MS,
    });
    return;
  }
  const pnpm = join(await pnpmFolder(), 'pnpm');
  await execa(process.execPath, [pnpm, 'install', '--lockfile-only'], {
    cwd: dir,
    timeout: TIMEOUT_MS,
    env: { CI: '1' },
  });
}
