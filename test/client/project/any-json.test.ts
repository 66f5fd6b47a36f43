/** Gives the readers of a project JSON of every shape. The names in it are often right, the values seldom. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readAppConfig } from '../../../client/project/app-config.ts';
import { resolveProfile } from '../../../client/project/build-profile.ts';
import { readEasJson } from '../../../client/project/eas-json.ts';
import { nativeTargetOf } from '../../../client/project/native-target.ts';
import { FIELD_LISTS } from '../../../client/project/profile-fields.ts';
import { workflowOf } from '../../../client/project/workflow.ts';
import { bareProject } from './factories/example-projects.ts';
import { filesOf } from './factories/files-of.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 300);
const SEED = Number(process.env.SEED ?? 1);

const NAMES = [
  'expo',
  'p',
  'extra',
  'eas',
  'projectId',
  'bundleIdentifier',
  'package',
  'versionCode',
  'buildNumber',
  'name',
  'dependencies',
  'constructor',
  '__proto__',
  'toString',
];
const known = [...NAMES, ...FIELD_LISTS.flatMap(({ fields }) => Object.keys(fields))];
const { value: anyJson } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.constantFrom(null, true, 0, -1, 1.5, '', 'p', 'true', '1.2.3', 'remote', '$(A)'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...known), tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

test(`${RUNS} files with any JSON in them give a value or one sentence`, async () => {
  await fc.assert(
    fc.asyncProperty(anyJson, anyJson, anyJson, fc.boolean(), async (profile, app, manifest, isBare) => {
      const files = filesOf({
        ...(isBare ? bareProject() : {}),
        'eas.json': JSON.stringify({ build: { p: profile }, cli: app }),
        'app.json': JSON.stringify({ expo: app }),
        'package.json': JSON.stringify(manifest),
      });
      const easJson = await readEasJson(files, '.');
      if (!easJson.ok) expect(easJson.problem).toMatch(/eas\.json.*\.$/);
      for (const platform of ['ios', 'android'] as const) {
        const resolved = easJson.ok ? resolveProfile(easJson.value, platform, 'p') : null;
        const workflow = await workflowOf(files, '.', platform);
        const config = await readAppConfig(files, '.', platform, workflow, resolved?.ok ? resolved.value : {});
        if (!config.ok) expect(config.problem).toMatch(/(app|package)\.json|scheme.*\.$/);
        else if (platform === 'ios')
          await nativeTargetOf(files, '.', workflow, resolved?.ok ? resolved.value : {}, config.value);
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
});
