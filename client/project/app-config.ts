/**
 * Reads the name, id, version and build number of an app, without running any code of the project. An
 * app.config.js is a program, so only its presence is reported, and the VM reads it.
 *
 * In a project with native folders, id, version and number are those of the native project, as in EAS. If
 * there is no plain id there, the one of the app config counts, and a note says so.
 */
import { z } from 'zod';
import type { BuildProfile } from './build-profile.ts';
import { readJson } from './formats/json.ts';
import { named, shown, textOf } from './formats/text.ts';
import { textIn, textInPropertyList } from './formats/xcode-files.ts';
import { expanded } from './formats/xcode-project.ts';
import { type Found, found, problem } from './found.ts';
import { type AppExtension, bareTarget } from './native-target.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';
import { type Workflow, xcodeProjectIn } from './workflow.ts';

const LIMITS = { maxBytes: 1024 * 1024, maxDepth: 100 };
const GRADLE_MAX_BYTES = 1024 * 1024;
/** In the order in which Expo looks for them. */
const DYNAMIC = ['ts', 'mts', 'cts', 'mjs', 'cjs', 'js'].map((extension) => `app.config.${extension}`);
const STATIC = ['app.config.json', 'app.json'];

interface Facts {
  /** The file of the native project that should have the id. Null in a managed project. */
  nativeFile: string | null;
  /** Bundle id or package. Null if it does not stand plainly in a file. */
  appId: string | null;
  version: string | null;
  /** Null if there is none, or if it is no whole number, such as 1.2.3. */
  buildNumber: number | null;
  sdkVersion: string | null;
  reactNativeVersion: string | null;
}

export type AppConfig =
  | (Facts & {
      kind: 'static';
      file: string;
      name: string;
      slug: string | null;
      /** The id of the project at Expo. */
      projectId: string | null;
      appExtensions: AppExtension[];
    })
  /** Facts of a managed project are null here. */
  | (Facts & { kind: 'dynamic'; file: string });

const text = z.string({ error: 'must be a text in quotes' });
const bundleId = text.regex(
  /^[a-zA-Z0-9-.]+$/,
  'must have only letters, digits, "-" and ".", such as "com.example.app"',
);
const Static = z.object(
  {
    name: text.optional(),
    slug: text.optional(),
    version: text.optional(),
    sdkVersion: text.optional(),
    ios: z
      .object({ bundleIdentifier: bundleId.optional(), buildNumber: text.optional() }, { error: 'must be an object' })
      .optional(),
    android: z
      .object(
        {
          package: text
            .regex(/^[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)+$/, 'must be a package, such as "com.example.app"')
            .optional(),
          // Gradle accepts "7" as a number, too.
          versionCode: z.preprocess(
            (value) => (typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value),
            z.number({ error: 'must be a whole number' }).int('must be a whole number').optional(),
          ),
        },
        { error: 'must be an object' },
      )
      .optional(),
    extra: z
      .object({
        eas: z
          .object({
            projectId: text.optional(),
            build: z
              .object({
                experimental: z
                  .object({
                    ios: z
                      .object({
                        appExtensions: z
                          .array(
                            z.object({ targetName: text, bundleIdentifier: bundleId }, { error: 'must be an object' }),
                            {
                              error: 'must be a list',
                            },
                          )
                          .optional(),
                      })
                      .optional(),
                  })
                  .optional(),
              })
              .optional(),
          })
          .optional(),
      })
      .optional(),
  },
  { error: 'must be an object' },
);

/** `profile`: the scheme and the configuration that are built, in a project with native folders. */
export async function readAppConfig(
  files: ProjectFiles,
  appRoot: string,
  platform: 'ios' | 'android',
  workflow: Workflow,
  profile: Pick<BuildProfile, 'scheme' | 'buildConfiguration'> = {},
): Promise<Found<AppConfig>> {
  const there = (name: string) => {
    const path = pathIn(appRoot, name);
    return path !== null && files.paths.has(path) ? path : undefined;
  };
  const own = await packageOf(files, appRoot);
  if (!own.ok) return own;
  const { name: packageName, version: packageVersion, sdkVersion, reactNativeVersion } = own.value;

  const native = workflow === 'generic' ? await nativeFacts(files, appRoot, platform, profile) : null;
  if (native !== null && !native.ok) return native;
  const shared = { sdkVersion, reactNativeVersion };
  const none = { nativeFile: null, appId: null, version: null, buildNumber: null };

  const dynamic = DYNAMIC.map(there).find((path) => path !== undefined);
  if (dynamic !== undefined)
    return found({ kind: 'dynamic', file: dynamic, ...none, ...native?.value, ...shared }, native?.notes);

  const file = STATIC.map(there).find((path) => path !== undefined) ?? pathIn(appRoot, 'app.json')!;
  const json = await readJson(files, file, LIMITS);
  if (json !== null && !json.ok) return json;
  const whole = json?.value ?? {};
  const hasKey = typeof whole === 'object' && whole !== null && Object.hasOwn(whole, 'expo');
  const parsed = Static.safeParse(
    looked(hasKey ? (whole as { expo: unknown }).expo : whole, platform, native !== null),
  );
  if (!parsed.success) return problem(sentenceOf(file, hasKey ? ['expo'] : [], whole, parsed.error.issues[0]!));
  const { name, slug, version, ios, android, extra } = parsed.data;
  const notes: string[] = [];
  const number = platform === 'ios' ? ios?.buildNumber : android?.versionCode;
  const buildNumber = wholeNumber(number);
  const ownId = (platform === 'ios' ? ios?.bundleIdentifier : android?.package) ?? null;
  if (native !== null && native.value.appId === null && ownId !== null)
    notes.push(
      `${native.value.nativeFile} does not say the app's id plainly, so it is taken from ${file}: ${named(ownId)}. If that is wrong, give \`app\` in the request.`,
    );
  if (native === null && number !== undefined && buildNumber === null)
    notes.push(
      `The build number ${shown(number)} in ${file} is no whole number, so it is not compared with the counter.`,
    );
  return found(
    {
      kind: 'static',
      file,
      name: name ?? packageName ?? 'app',
      slug: slug ?? null,
      version: version ?? packageVersion,
      buildNumber,
      nativeFile: null,
      ...native?.value,
      appId: native?.value.appId ?? ownId,
      ...shared,
      sdkVersion: parsed.data.sdkVersion ?? sdkVersion,
      projectId: extra?.eas?.projectId ?? null,
      appExtensions: extra?.eas?.build?.experimental?.ios?.appExtensions ?? [],
    },
    [...notes, ...(native?.notes ?? [])],
  );
}

function sentenceOf(file: string, above: string[], whole: unknown, issue: z.core.$ZodIssue): string {
  const path = [...above, ...issue.path];
  let value = whole;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null)?.[key];
  const where = path.length === 0 ? file : `${named(path.join('.'))} in ${file}`;
  return `${where} ${issue.message.startsWith('must') ? issue.message : 'must be an object'}, but is ${shown(value)}. Correct it there.`;
}

/**
 * The fields of the config that matter to this build. EAS ignores the section of the other platform. In a
 * project with native folders it also ignores that of its own platform, so one that is not valid is dropped
 * here.
 */
function looked(config: unknown, platform: 'ios' | 'android', isNative: boolean): unknown {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return config;
  const { ios, android, ...rest } = config as Record<string, unknown>;
  const own = platform === 'ios' ? { ios } : { android };
  return isNative && !Static.pick({ ios: true, android: true }).safeParse(own).success ? rest : { ...rest, ...own };
}

const wholeNumber = (value: string | number | null | undefined): number | null => {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 1 ? number : null;
};

/** Package.json says which SDK the app is made for, because node_modules is not there yet. */
async function packageOf(files: ProjectFiles, appRoot: string) {
  const file = pathIn(appRoot, 'package.json');
  const json = file === null ? null : await readJson(files, file, LIMITS);
  if (json === null)
    return problem(
      `${file ?? named(appRoot)} is not in the source. Add it, or name the app's folder: as FOLDER of \`expo-build submit\`, or as \`projectRoot\` in a request.`,
    );
  if (!json.ok) return json;
  const dependencies = (json.value as { dependencies?: unknown } | null)?.dependencies;
  const expo = /^[~^]?(\d{1,4})\./.exec(textIn(dependencies, 'expo') ?? '')?.[1];
  return found({
    name: textIn(json.value, 'name'),
    version: textIn(json.value, 'version'),
    sdkVersion: expo === undefined ? null : `${expo}.0.0`,
    reactNativeVersion: /^[~^]?(\d+\.\d+\.\d+)$/.exec(textIn(dependencies, 'react-native') ?? '')?.[1] ?? null,
  });
}

type NativeFacts = Pick<Facts, 'nativeFile' | 'appId' | 'version' | 'buildNumber'>;

async function nativeFacts(
  files: ProjectFiles,
  appRoot: string,
  platform: 'ios' | 'android',
  profile: Pick<BuildProfile, 'scheme' | 'buildConfiguration'>,
): Promise<Found<NativeFacts>> {
  if (platform === 'android') return await gradleFacts(files, appRoot);
  const bare = await bareTarget(files, appRoot, profile);
  if (!bare.ok) return bare;
  const { target, settings } = bare.value;
  const ios = pathIn(appRoot, 'ios')!;
  const plistPath = expanded((settings.get('INFOPLIST_FILE') ?? '').replace(/^\$[({]SRCROOT[)}]\//, ''), settings);
  const path = plistPath === null || plistPath === '' ? null : pathIn(ios, plistPath);
  const plist = path === null ? null : await files.read(path);
  const setting = (name: string, otherwise: string) =>
    expanded(textInPropertyList(plist, name) ?? settings.get(otherwise) ?? '', settings) || null;
  const idOfPlist = setting('CFBundleIdentifier', '');
  return found(
    {
      nativeFile: xcodeProjectIn(files, appRoot),
      // An old project has the id only in its Info.plist.
      appId: target.targets[0]!.bundleId ?? (bundleId.safeParse(idOfPlist).success ? idOfPlist : null),
      version: setting('CFBundleShortVersionString', 'MARKETING_VERSION'),
      buildNumber: wholeNumber(setting('CFBundleVersion', 'CURRENT_PROJECT_VERSION')),
    },
    bare.notes,
  );
}

/** The plain values in build.gradle. With flavors, only Gradle itself knows which of the ids is built. */
async function gradleFacts(files: ProjectFiles, appRoot: string): Promise<Found<NativeFacts>> {
  const file = ['build.gradle', 'build.gradle.kts']
    .map((name) => pathIn(appRoot, `android/app/${name}`)!)
    .find((path) => files.paths.has(path));
  const bytes = file === undefined ? null : await files.read(file);
  const gradle = (bytes !== null && bytes.length <= GRADLE_MAX_BYTES ? (textOf(bytes) ?? '') : '')
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('//'))
    .join('\n');
  const first = (pattern: RegExp) => pattern.exec(gradle)?.[1] ?? null;
  const facts = {
    nativeFile: file ?? null,
    appId: first(/\bapplicationId[ \t]{0,9}=?[ \t]{0,9}["']([A-Za-z0-9_.]{1,155})["']/),
    version: first(/\bversionName[ \t]{0,9}=?[ \t]{0,9}["']([^"'\n]{1,64})["']/),
    buildNumber: wholeNumber(first(/\bversionCode[ \t]{0,9}=?[ \t]{0,9}(\d{1,10})\b/)),
  };
  const hides = /\b(productFlavors|applicationIdSuffix)\b/.exec(gradle)?.[1];
  if (hides === undefined) return found(facts);
  return found({ nativeFile: file ?? null, appId: null, version: null, buildNumber: null }, [
    `${file} has \`${hides}\`, so that the app's id and number are not known before Gradle runs.`,
  ]);
}
