/**
 * Explains a build of a profile before anything is sent: the fate of each field, the engine and why, the
 * number of the app, the secrets that are needed, and the differences to EAS.
 *
 * Invariant: the plan behind it is the one that the agent makes of the same source, by the same function. A
 * refusal is the sentence with which the build would end.
 */
import { looksSecret } from '#contract';
import { type BuildProfile, chainOf, checkCustomBuild } from '../project/build-profile.ts';
import { type EasJson, onUnknownFields, readEasJson } from '../project/eas-json.ts';
import { isSigned } from '../project/engine.ts';
import { numberPolicy } from '../project/number-policy.ts';
import { PRIVATE_ACCESS } from '../project/private-access.ts';
import type { Fate } from '../project/profile-fields.ts';
import { withFilesOver } from '../project/project-files.ts';
import { type FateContext, fateOf, fateOfCli } from './field-fates.ts';
import { originsOf } from './field-origins.ts';
import { type BuildPlan, type PlanRequest, type Project, planWithProject } from './plan.ts';
import { sortVariables } from './variables.ts';

export interface ExplainedField {
  /** As in the profile, or `cli.…`. */
  field: string;
  /** Hidden if it looks secret. */
  value: unknown;
  /** Its place in eas.json. */
  path: string;
  fate: Fate;
  says: string;
}

export interface NeededSecret {
  name: string;
  /** stored: for the project. missing: neither in the command nor among the known stored ones. */
  is: 'given' | 'stored' | 'missing';
  says: string;
}

export interface Explanation {
  /** The sentence with which the build would end, or null if it would be built. */
  refusal: string | null;
  /** The profile, the one that it extends, and so on. */
  chain: string[];
  fields: ExplainedField[];
  project: Partial<Project>;
  plan: BuildPlan | null;
  /** Null if the build is refused before the number is decided. */
  number: string | null;
  secrets: NeededSecret[];
  /** The lines that the log of the build will have. For a refused build: lines on unknown fields. */
  notes: string[];
  /** The points in which `eas build` would act differently. */
  differences: string[];
}

export const HIDDEN = '(hidden)';

export async function explainBuild(request: PlanRequest): Promise<Explanation> {
  const { made, project } = await planWithProject(request);
  const plan = made.ok ? made.value : null;
  const easJson = project.easJson ?? null;
  const chained = easJson === null ? null : chainOf(easJson, request.profile);
  const chain = chained?.ok ? chained.value : [];
  const said = { request, project, plan };
  return {
    refusal: made.ok ? null : made.problem,
    chain,
    fields: easJson === null ? [] : await fieldsOf(request, easJson, project, chain),
    project,
    plan,
    number: numberWords(said),
    secrets: secretsOf(said),
    notes: plan?.notes ?? (await unknownFieldsIn(request)),
    differences: differencesOf(said),
  };
}

/** Unknown fields may be the reason for the refusal. */
async function unknownFieldsIn({ files, appRoot }: PlanRequest): Promise<string[]> {
  const read = await readEasJson(files, appRoot);
  const said = read.ok ? onUnknownFields(read.value, read.notes) : null;
  return read.ok && said !== null ? [`${read.value.file} ${said}`] : [];
}

interface Said {
  request: PlanRequest;
  project: Partial<Project>;
  plan: BuildPlan | null;
}

async function fieldsOf(
  request: PlanRequest,
  easJson: EasJson,
  project: Partial<Project>,
  chain: readonly string[],
): Promise<ExplainedField[]> {
  const { platform, appRoot, imageNames, inputs, unseen, files } = request;
  const origins = originsOf(easJson, platform, chain);
  const values = Object.fromEntries(origins.map(({ field, value }) => [field, value]));
  const { plain, secret } = sortVariables(inputs);
  const secretFiles = new Map(Object.keys(inputs.secretFiles ?? {}).map((path) => [path, Buffer.alloc(0)]));
  // A refused profile has values too.
  const usual = { credentialsSource: 'remote', distribution: 'store', name: request.profile, platform } as const;
  const profile = project.profile ?? ({ ...usual, ...values } as BuildProfile);
  const context: FateContext = {
    ...{ platform, project: { ...project, profile }, values, imageNames },
    plainNames: Object.keys(plain),
    secretNames: [...Object.keys(secret), ...(unseen?.variables ?? [])],
    hasCustomBuild: checkCustomBuild(withFilesOver(files, secretFiles), appRoot, profile).ok,
  };
  const ofProfile = origins.map(({ field, value, path }) => ({
    ...{ field, path, value: shownValue(field, value) },
    ...fateOf({ field, value }, context),
  }));
  const ofCli = Object.entries(easJson.cli).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [{ field: `cli.${name}`, path: `cli.${name}`, value, ...fateOfCli(name, value, context) }],
  );
  return [...ofProfile, ...ofCli];
}

/** Hides a value whose name or letters look like a key. Long values such as addresses are shown. */
function shownValue(field: string, value: unknown): unknown {
  if (!field.startsWith('env.') || typeof value !== 'string') return value;
  const name = field.slice('env.'.length);
  if (!looksSecret(name, value)) return value;
  const isKeyByName = looksSecret(name, '');
  const isKeyByValue = /^[\w+/=.~-]{16,}$/.test(value) && /\d/.test(value) && /[A-Za-z]/.test(value);
  const hasPassword = /:\/\/[^/\s]*@/.test(value) || /[?&][^=&]*(key|token|secret|auth)[^=&]*=/i.test(value);
  return isKeyByName || isKeyByValue || hasPassword ? HIDDEN : value;
}

function numberWords({ request, project: { easJson, profile, engine, app }, plan }: Said): string | null {
  if (!easJson || !profile || !engine) return null;
  const isRemote = easJson.cli.appVersionSource === 'remote';
  if (engine.engine === 'eas')
    return isRemote
      ? "Expo's server has the number, and `eas build --local` raises it there."
      : 'The number is the one in the project.';
  const { policy } = numberPolicy(easJson, profile);
  const isOwn = request.app ?? app;
  const own = isOwn?.buildNumber ?? null;
  if (policy === 'none') return `The number in the project stays${own === null ? '' : `: ${own}`}.`;
  if (plan?.number.asked === 'never') return 'An app for the simulator gets no number from the counter.';
  const forApp =
    plan?.number.asked === 'before the boot'
      ? ` of ${plan.number.request.app.id}`
      : '. The VM finds out which app it is';
  if (policy === 'read')
    return `The number is the one that Tartbeat's counter has${forApp}. Without a counter, the number in the project stays${own === null ? '' : `: ${own}`}.`;
  const isSeeded = own !== null && own > 1;
  const without = isSeeded
    ? `It begins with ${own}, the number in the project, if there is no counter yet.`
    : 'If there is no counter yet, the build is refused: set one first with `expo-build version set`.';
  return `The number is the next one of Tartbeat's counter${forApp}. ${without}`;
}

function secretsOf({ request, project, plan }: Said): NeededSecret[] {
  const { inputs, unseen } = request;
  const stored = new Set([...(unseen?.variables ?? []), ...(unseen?.files ?? [])]);
  const given = new Set([...Object.keys(inputs.env), ...Object.keys(inputs.secretFiles ?? {})]);
  const is = (name: string) => (given.has(name) ? 'given' : stored.has(name) ? 'stored' : 'missing');
  const needed: NeededSecret[] = [];
  const { profile, engine, credentials } = project;
  if (engine?.engine === 'eas')
    needed.push({ name: 'EXPO_TOKEN', is: is('EXPO_TOKEN'), says: "Expo's server is asked with it." });
  if (profile && isSigned(profile) && engine?.engine === 'plugin') {
    const certificates = [...given, ...stored].filter((path) => /\.p12$/i.test(path));
    for (const path of new Set(certificates)) needed.push({ name: path, is: is(path), says: 'It signs the app.' });
    const isAlone = ![...given, ...stored].some((path) => path.split('/').at(-1) === 'credentials.json');
    if (profile.platform === 'ios' && isAlone && certificates.length > 0)
      needed.push({ name: 'P12_PASSWORD', is: is('P12_PASSWORD'), says: 'It opens the certificate.' });
  }
  if (credentials?.platform === 'ios')
    for (const { target, profile: file, profilePath } of credentials.targets)
      needed.push({
        name: profilePath,
        is: 'given',
        says: `It is for the target ${target}, and expires on ${file.expires.toISOString().slice(0, 10)}.`,
      });
  if (credentials?.platform === 'android')
    needed.push({ name: credentials.keystorePath, is: 'given', says: 'It signs the app.' });
  for (const note of plan?.notes ?? [])
    for (const name of ['GIT_SSH_KEY', 'GIT_KNOWN_HOSTS', 'NETRC', 'NPMRC'])
      if (note.startsWith(PRIVATE_ACCESS) && new RegExp(`no secret ${name}\\b`).test(note))
        if (!needed.some((one) => one.name === name))
          needed.push({ name, is: 'missing', says: note.slice(PRIVATE_ACCESS.length) });
  return needed;
}

function differencesOf({ request, project, plan }: Said): string[] {
  const { easJson, profile, engine } = project;
  if (!easJson || !profile || !engine) return [];
  const { platform } = request;
  const differs: string[] = [];
  if (engine.engine === 'plugin' && easJson.cli.appVersionSource === 'remote')
    differs.push("The number is counted by Tartbeat, and not by Expo's server.");
  if (engine.engine === 'plugin' && profile.autoIncrement && easJson.cli.appVersionSource !== 'remote')
    differs.push('EAS would raise the number in files of the project. Tartbeat does not change them.');
  if (engine.engine === 'eas' && profile.environment !== undefined)
    differs.push('Variables of the environment that are secret at Expo never leave it: give them to the build.');
  if (engine.engine === 'eas' && platform === 'ios' && isSigned(profile))
    differs.push('No credentials are made or renewed at Expo or Apple: set them up with `eas credentials -p ios`.');
  if (plan && !plan.tools.some(({ name }) => name === 'node'))
    differs.push("No version of Node is named, so it is the Mac image's, and not that of an image of EAS.");
  if (plan?.notes.some((note) => note.includes('fields that are not known')))
    differs.push('EAS refuses a file with a field that it does not know. Here it changes nothing.');
  if (profile.cache !== undefined || profile.resourceClass !== undefined)
    differs.push('The Mac decides about caches and about the size of the VM.');
  if (profile.env?.EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP === undefined)
    differs.push('expo-doctor does not run. EAS_BUILD_DISABLE_EXPO_DOCTOR_STEP=0 in `env` turns it on.');
  return differs;
}
