/**
 * Holds our reader of eas.json against Expo's own, with files drawn at random. `EXPO_PROFILES` says how many.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { type BuildProfile, resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import { FIELD_LISTS } from '../../client/project/profile-fields.ts';
import { resolveSubmitProfile } from '../../client/project/submit/submit-profile.ts';
import { filesOf } from '../client/project/factories/files-of.ts';
import { installed } from './factories/engine-packages.ts';
import { type RandomEasJson, randomEasJson } from './projects/random-eas-json.ts';
import { randomSubmit, VARIABLES } from './projects/random-submit.ts';

/** The version that the table of fates is made for. */
const EAS_JSON = '@expo/eas-json@24.8.0';
const PROFILES = Number(process.env.EXPO_PROFILES ?? 1000);
const SEED = Number(process.env.SEED ?? 1);

interface Theirs {
  EasJsonAccessor: { fromRawString(text: string): object };
  EasJsonUtils: {
    getBuildProfileAsync(accessor: object, platform: string, name: string): Promise<object>;
    getSubmitProfileAsync(accessor: object, platform: string, name: string | undefined): Promise<object>;
  };
}
let require: NodeJS.Require;
let theirs: Theirs;
beforeAll(async () => {
  require = createRequire(join(await installed([EAS_JSON]), 'index.js'));
  theirs = require('@expo/eas-json') as Theirs;
}, 300_000);

type Answer = { ok: true; profile: Record<string, unknown> } | { ok: false; why: string };

async function answerOf(expo: () => Promise<object>): Promise<Answer> {
  try {
    return { ok: true, profile: plain(await expo()) };
  } catch (error) {
    return { ok: false, why: (error as Error).message };
  }
}

const expoSays = ({ text, platform, name }: RandomEasJson): Promise<Answer> =>
  answerOf(() => theirs.EasJsonUtils.getBuildProfileAsync(theirs.EasJsonAccessor.fromRawString(text), platform, name));

async function weSay({ text, platform, name }: RandomEasJson): Promise<Answer> {
  const easJson = await readEasJson(filesOf({ 'eas.json': text }), '.');
  if (!easJson.ok) return { ok: false, why: easJson.problem };
  const profile = resolveProfile(easJson.value, platform, name);
  if (!profile.ok) return { ok: false, why: profile.problem };
  const { name: _, platform: __, ...fields } = profile.value satisfies BuildProfile;
  return { ok: true, profile: plain(fields) };
}

const plain = (value: object): Record<string, unknown> => JSON.parse(JSON.stringify(value));

/** Where we refuse what Expo takes, and why. */
const DIFFERENCES: readonly {
  because: string;
  applies(expo: Record<string, unknown>, drawn: RandomEasJson): boolean;
}[] = [
  {
    because: 'An iOS app for devices cannot be built without signing. Expo says so only after minutes.',
    applies: (expo, { platform }) => platform === 'ios' && !!expo.withoutCredentials && !expo.simulator && !expo.config,
  },
  {
    because: 'Only names of images that a Mac has are accepted.',
    applies: ({ image }) => typeof image === 'string' && !/^(latest|auto|default|sdk-\d+)$/.test(image),
  },
];

/** Where we take what Expo refuses, by the lines of Expo's message, and why. */
const TAKEN: readonly { because: string; line: RegExp }[] = [
  {
    because: 'A field that nobody knows may be one of a newer EAS. The log names it.',
    line: /^- "(?!.*\.android\.rollout").*" is not allowed$/,
  },
];
const isTaken = (why: string) => {
  const [, ...lines] = why.split('\n');
  return lines.length > 0 && lines.every((line) => TAKEN.some((one) => one.line.test(line)));
};

/** Holds our answers against Expo's. `differs` tells where we refuse on purpose what Expo takes. */
async function compare<Drawn>(
  drawn: fc.Arbitrary<Drawn>,
  expoSays: (drawn: Drawn) => Promise<Answer>,
  weSay: (drawn: Drawn) => Answer | Promise<Answer>,
  differs: (expo: Record<string, unknown>, drawn: Drawn) => boolean = () => false,
): Promise<void> {
  const seen = { same: 0, bothRefuse: 0, different: 0 };
  await fc.assert(
    fc.asyncProperty(drawn, async (one) => {
      const [expo, we] = [await expoSays(one), await weSay(one)];
      if (!expo.ok && !we.ok) seen.bothRefuse++;
      else if (!expo.ok && isTaken(expo.why)) seen.different++;
      else if (expo.ok && !we.ok && differs(expo.profile, one)) seen.different++;
      else {
        expect(we).toEqual(expo);
        seen.same++;
      }
    }),
    { numRuns: PROFILES, seed: SEED },
  );
  console.log(JSON.stringify(seen));
  // Otherwise the files are drawn so badly that the comparison shows nothing.
  expect(seen.same).toBeGreaterThan(PROFILES / 3);
  expect(seen.bothRefuse).toBeGreaterThan(PROFILES / 20);
}

test(`${PROFILES} random files of eas.json resolve as Expo's resolver does`, () =>
  compare(randomEasJson, expoSays, weSay, (expo, drawn) => DIFFERENCES.some((one) => one.applies(expo, drawn))));

test(`${PROFILES} random submit profiles resolve as Expo's resolver does`, async () => {
  // Expo's resolver reads the variables of its process.
  Object.assign(process.env, VARIABLES);
  await compare(
    randomSubmit,
    ({ text, platform, name }) =>
      answerOf(() =>
        theirs.EasJsonUtils.getSubmitProfileAsync(theirs.EasJsonAccessor.fromRawString(text), platform, name),
      ),
    ({ text, platform, name }) => {
      const found = resolveSubmitProfile('eas.json', JSON.parse(text).submit, platform, name, VARIABLES);
      return found.ok ? { ok: true, profile: plain(found.value) } : { ok: false, why: found.problem };
    },
  );
});

test("the table of fates has exactly the fields of Expo's schema", () => {
  interface Description {
    keys?: Record<string, Description>;
    patterns?: { rule: Description }[];
  }
  const { EasJsonSchema } = require('@expo/eas-json/build/schema.js') as { EasJsonSchema: { describe(): Description } };
  const keys = (one: Description | undefined) => Object.keys(one?.keys ?? {}).sort();
  const top = EasJsonSchema.describe();
  const build = top.keys?.build?.patterns?.[0]?.rule;
  const submit = top.keys?.submit?.patterns?.[0]?.rule;
  const common = keys(build).filter((key) => !['ios', 'android', 'extends'].includes(key));
  const theirFields: Record<string, string[]> = {
    '': keys(top),
    'build.PROFILE': keys(build),
    'build.PROFILE.cache': keys(build?.keys?.cache),
    'build.PROFILE.ios': keys(build?.keys?.ios).filter((key) => !common.includes(key)),
    'build.PROFILE.android': keys(build?.keys?.android).filter((key) => !common.includes(key)),
    cli: keys(top.keys?.cli),
    'submit.PROFILE': keys(submit),
    'submit.PROFILE.ios': keys(submit?.keys?.ios),
    'submit.PROFILE.android': keys(submit?.keys?.android),
  };
  // Expo's schema has the older name of `paths` as a key, and renames it.
  const ours = Object.fromEntries(FIELD_LISTS.map(({ where, fields }) => [where, Object.keys(fields).sort()]));
  expect(ours).toEqual(theirFields);
});
