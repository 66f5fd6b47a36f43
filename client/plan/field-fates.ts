/**
 * Says how this build uses a field of its profile: the general fate of profile-fields.ts, or one that follows
 * from the rest of the project. Pure.
 */
import { isAnyImage } from '../project/build-profile.ts';
import { isSigned } from '../project/engine.ts';
import { listed } from '../project/formats/text.ts';
import { numberPolicy } from '../project/number-policy.ts';
import {
  ANDROID_FIELDS,
  CACHE_FIELDS,
  CLI_FIELDS,
  COMMON_FIELDS,
  type Fate,
  type FieldFate,
  IOS_FIELDS,
} from '../project/profile-fields.ts';
import type { FieldOrigin } from './field-origins.ts';
import type { Project } from './plan.ts';

export interface FateContext {
  platform: 'ios' | 'android';
  /** All that was read, or all until the problem. */
  project: Partial<Project>;
  /** The values of the whole profile, also if it is refused. */
  values: Readonly<Record<string, unknown>>;
  imageNames: readonly string[] | null;
  /** The names of the variables that the build brings. */
  plainNames: readonly string[];
  secretNames: readonly string[];
  hasCustomBuild: boolean;
}

interface Said {
  fate: Fate;
  says: string;
}

type Rule = (value: unknown, context: FateContext) => Said | null;

export function fateOf({ field, value }: Pick<FieldOrigin, 'field' | 'value'>, context: FateContext): Said {
  const [name, ...rest] = field.split('.');
  if (name === 'env') return ofVariable(rest.join('.'), context);
  if (name === 'cache') return general(CACHE_FIELDS[rest[0] as keyof typeof CACHE_FIELDS]);
  const said = Object.hasOwn(RULES, name!) ? RULES[name!]!(value, context) : null;
  return said ?? general(FIELDS[context.platform][name!]!);
}

export function fateOfCli(field: string, value: unknown, context: FateContext): Said {
  if (field !== 'appVersionSource') return general(CLI_FIELDS[field as keyof typeof CLI_FIELDS]);
  const isOfExpo = context.project.engine?.engine === 'eas';
  if (value === 'local') return { fate: 'mapped', says: "The project's own number stays." };
  return isOfExpo
    ? { fate: 'used', says: "Expo's server has the counter, because `eas build --local` builds." }
    : { fate: 'mapped', says: "Tartbeat's own counter has the number. Expo's server is not asked." };
}

export const general = ({ fate, says, but }: FieldFate): Said => ({ fate, says: but ? `${says} ${but}` : says });

const FIELDS: Record<'ios' | 'android', Readonly<Record<string, FieldFate>>> = {
  ios: { ...COMMON_FIELDS, ...IOS_FIELDS },
  android: { ...COMMON_FIELDS, ...ANDROID_FIELDS },
};

function ofVariable(name: string, context: FateContext): Said {
  const { plainNames, secretNames } = context;
  // eas-cli puts `env` of the profile into its job, which wins over the variables that it was started with.
  const isSecret = secretNames.includes(name);
  if (isSecret && !usesExpo(context))
    return { fate: 'ignored', says: 'A secret variable of the build has the same name, and wins.' };
  return {
    fate: 'used',
    says:
      isSecret || plainNames.includes(name)
        ? 'A variable of the build. It wins over the one of the same name that the request brings.'
        : 'A variable of the build.',
  };
}

const ignored = (says: string): Said => ({ fate: 'ignored', says });
const isUnsigned = ({ project: { profile } }: FateContext) => profile !== undefined && !isSigned(profile);
const usesExpo = ({ project: { engine } }: FateContext) => engine?.engine === 'eas';

const RULES: Record<string, Rule> = {
  image: (value, { imageNames }) => {
    const name = String(value);
    if (isAnyImage(name)) return { fate: 'used', says: "It means the Mac's image." };
    if (imageNames === null)
      return { fate: 'used', says: "It must be the name of the Mac's image. Otherwise the build is refused." };
    return imageNames.includes(name)
      ? { fate: 'used', says: "It is the name of the Mac's image." }
      : { fate: 'refused', says: `The image of the build is called ${listed(imageNames)}.` };
  },
  withoutCredentials: (value, { platform, values }) => {
    if (value === false) return { fate: 'used', says: 'The app is signed.' };
    if (platform === 'ios' && values.simulator === true) return ignored('An app for the simulator is never signed.');
    return platform === 'ios' && values.config === undefined
      ? { fate: 'refused', says: "Expo's engine cannot build without credentials for iOS devices." }
      : { fate: 'used', says: 'Builds without signing.' };
  },
  simulator: (value) => (value === true ? null : { fate: 'used', says: 'Builds for devices.' }),
  config: (_, { hasCustomBuild }) =>
    hasCustomBuild ? null : { fate: 'refused', says: 'The file of the custom build is not in the source.' },
  credentialsSource: (value, context) => {
    if (isUnsigned(context)) return ignored('Nothing is signed.');
    const { hasLocalCredentials, profile } = context.project;
    if (value === 'local') return { fate: 'used', says: "credentials.json, or the build's secret files." };
    if (profile?.environment === undefined && hasLocalCredentials)
      return { fate: 'mapped', says: "The build brings signing files, and these sign it. Expo's server is not asked." };
    return { fate: 'used', says: "The signing files come from Expo's server, which needs EXPO_TOKEN." };
  },
  distribution: (value, context) => {
    if (context.platform === 'ios')
      return isUnsigned(context)
        ? { fate: 'used', says: 'Nothing is signed, so no provisioning profile has to fit.' }
        : { fate: 'used', says: 'The provisioning profile must be of a kind that fits.' };
    const decides = whatGradleBuilds(context);
    if (decides !== null) return ignored(`\`${decides}\` decides what Gradle builds.`);
    return { fate: 'used', says: value === 'internal' ? 'Builds an .apk.' : 'Builds an .aab, for the store.' };
  },
  buildType: (_, context) => {
    const decides = whatGradleBuilds(context);
    return decides === 'buildType' ? null : ignored(`\`${decides}\` decides what Gradle builds.`);
  },
  developmentClient: (value, context) =>
    value === true && context.platform === 'android' && context.values.gradleCommand === undefined
      ? { fate: 'used', says: 'Builds a development client: Gradle runs `:app:assembleDebug`.' }
      : null,
  enterpriseProvisioning: (_, context) => (isUnsigned(context) ? ignored('Nothing is signed.') : null),
  keystoreName: (_, context) => {
    if (usesExpo(context)) return { fate: 'mapped', says: "Which of Expo's keystores signs the app." };
    return context.project.engine === undefined ? null : ignored("No keystore of Expo's server is used.");
  },
  scheme: (_, { project: { workflow } }) => {
    if (workflow === 'managed') return ignored('`expo prebuild` names the scheme, as with EAS.');
    return workflow === 'generic' ? { fate: 'used', says: 'This scheme is built.' } : null;
  },
  autoIncrement: (value, context) => {
    const { easJson, profile } = context.project;
    if (easJson === undefined || profile === undefined) return null;
    if (value === 'version')
      return ignored('Tartbeat counts build numbers, and does not change the version of an app.');
    if (usesExpo(context))
      return easJson.cli.appVersionSource === 'remote'
        ? { fate: 'used', says: "Expo's server counts, because `eas build --local` builds." }
        : { fate: 'mapped', says: 'eas-cli changes the number in the VM only.' };
    const { policy } = numberPolicy(easJson, profile);
    if (value === false)
      return {
        fate: 'used',
        says: policy === 'read' ? 'The counter does not move.' : "The project's own number stays.",
      };
    if (policy !== 'increment')
      return ignored('`cli.appVersionSource` is not "remote", and Tartbeat does not change files of the project.');
    if (context.platform === 'ios' && profile.simulator)
      return ignored('An app for the simulator has no place for a number.');
    return { fate: 'mapped', says: "Tartbeat's own counter gives the next number." };
  },
  pnpm: (_, context) => ofManager('pnpm', context),
  yarn: (_, context) => ofManager('yarn', context),
  bun: (_, context) => ofManager('bun', context),
};

/** The field that decides what Gradle builds, as in Expo's engine. */
function whatGradleBuilds({ values }: FateContext): 'gradleCommand' | 'developmentClient' | 'buildType' | null {
  if (values.gradleCommand !== undefined) return 'gradleCommand';
  if (values.developmentClient === true) return 'developmentClient';
  return values.buildType === undefined ? null : 'buildType';
}

function ofManager(name: string, { project: { manager } }: FateContext): Said | null {
  if (manager === undefined || manager.manager === name) return null;
  return ignored(`This project uses ${manager.manager}, so ${name} is not installed.`);
}
