/**
 * Reads `expo-build.json`, the file beside eas.json that says what `expo-build` sends: a command if there is
 * no profile, its artifacts, and the ignored files that go along.
 *
 * Invariant: it comes from the project, whose author may be a stranger. So it never names a controller and
 * never holds a key, and every path in it stays inside the source.
 */
import { z } from 'zod';
import { ArtifactGlob, BuildRequest, PLATFORMS, SCOPES, SECRET_FILES_MAX } from '#contract';
import { readJson } from './formats/json.ts';
import { listed, named, shown } from './formats/text.ts';
import { type Found, found, problem } from './found.ts';
import { type ProjectFiles, pathIn } from './project-files.ts';

export const EXPO_BUILD_JSON = 'expo-build.json';

const LIMITS = { maxBytes: 256 * 1024, maxDepth: 20 };
const INCLUDE_MAX = 100;
const ARTIFACTS_MAX = 50;
/** A key, in the form in which the controller makes it. */
const KEY = new RegExp(`\\btb_(?:${SCOPES.join('|')})_[A-Za-z0-9_-]{16,}`);
/** Names of fields for an address or a key, which a project must not have. */
const ADDRESS_OR_KEY =
  /^(?:url|address|host|server|endpoint|controller|controllerUrl|api|apiUrl|api_?key|key|token|EXPO_BUILD_URL|EXPO_BUILD_KEY)$/i;

const command = z
  .string({ error: 'must be a text in quotes' })
  .min(1, 'must not be empty')
  .superRefine(asInRequest('command'));

const artifacts = z
  .array(
    z.union([z.string().transform((glob) => ({ glob })), ArtifactGlob.partial({ required: true, onFailure: true })], {
      error: 'must be a glob, or an object such as { "glob": "build/*.ipa", "required": false }',
    }),
    { error: 'must be a list of globs, such as ["build/*.ipa"]' },
  )
  .max(ARTIFACTS_MAX, `must have at most ${ARTIFACTS_MAX} globs`)
  .superRefine(asInRequest('artifacts'))
  .transform((globs) => globs.map((glob) => ArtifactGlob.parse(glob)));

const onePlatform = z
  .strictObject({ command: command.optional(), artifacts: artifacts.optional() }, { error: 'must be an object' })
  .optional();

const paths = (what: string, example: string) => {
  const error = `must be a list of ${what}, such as ["${example}"]`;
  return z.array(z.string({ error }).min(1, 'must not have an empty text'), { error }).default([]);
};

const ExpoBuildJsonFile = z.strictObject(
  {
    command: command.optional(),
    artifacts: artifacts.optional(),
    ios: onePlatform,
    android: onePlatform,
    secretFiles: paths('paths', '.env.local').pipe(
      z.array(z.string()).max(SECRET_FILES_MAX, `must have at most ${SECRET_FILES_MAX} paths`),
    ),
    project: z.string({ error: 'must be a text in quotes' }).superRefine(asInRequest('project')).optional(),
    include: paths('globs', 'ios/Frameworks/**').pipe(
      z.array(z.string()).max(INCLUDE_MAX, `must have at most ${INCLUDE_MAX} globs`),
    ),
  },
  { error: 'must be an object, such as { "secretFiles": [".env.local"] }' },
);

export type ExpoBuildJson = z.infer<typeof ExpoBuildJsonFile>;

const NONE: ExpoBuildJson = { secretFiles: [], include: [] };

/** A project without the file counts as one with an empty file. */
export async function readExpoBuildJson(files: ProjectFiles, appRoot: string): Promise<Found<ExpoBuildJson>> {
  const file = pathIn(appRoot, EXPO_BUILD_JSON);
  const json = file === null ? null : await readJson(files, file, LIMITS);
  if (json === null) return found(NONE);
  return json.ok ? expoBuildJsonIn(json.value) : json;
}

function expoBuildJsonIn(value: unknown): Found<ExpoBuildJson> {
  if (KEY.test(JSON.stringify(value)))
    return problem(
      `${EXPO_BUILD_JSON} has a key of Tartbeat in it, which everybody who reads the project can use. Revoke the key, remove it there, and run \`expo-build login\`.`,
    );
  const parsed = ExpoBuildJsonFile.safeParse(value);
  if (parsed.success) return found(parsed.data);
  const issue = parsed.error.issues[0]!;
  const at = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') return problem(unknownField(at, issue.keys[0]!));
  let there = value;
  for (const key of issue.path) there = (there as Record<PropertyKey, unknown> | null)?.[key];
  const is = issue.message.startsWith('must') && at !== '' ? `, but is ${shown(there)}` : '';
  return problem(`${at === '' ? '' : `${named(at)} in `}${EXPO_BUILD_JSON} ${issue.message}${is}. Correct it there.`);
}

function unknownField(at: string, field: string): string {
  if (ADDRESS_OR_KEY.test(field))
    return `${EXPO_BUILD_JSON} has the field ${named(field)}. The controller's address and the key never come from a project: remove it, and run \`expo-build login\`, or set EXPO_BUILD_URL and EXPO_BUILD_KEY.`;
  const known = (PLATFORMS as readonly string[]).includes(at)
    ? ['command', 'artifacts']
    : Object.keys(ExpoBuildJsonFile.shape);
  const where = at === '' ? EXPO_BUILD_JSON : `${named(at)} in ${EXPO_BUILD_JSON}`;
  return `${where} has no field ${named(field)}. Correct its name, or remove it. The fields are ${listed(known)}.`;
}

export interface CommandBuild {
  command: string;
  artifacts: ArtifactGlob[];
}

/**
 * The command and the artifacts for this platform in the form of a request, or null if the file has no
 * command for it. In the file, command and globs count from the folder of the app; in a request, from the
 * root of the source.
 */
export function commandBuildOf(
  json: ExpoBuildJson,
  appRoot: string,
  platform: 'ios' | 'android',
): Found<CommandBuild | null> {
  const command = json[platform]?.command ?? json.command;
  if (command === undefined) return found(null);
  const artifacts: ArtifactGlob[] = [];
  for (const one of json[platform]?.artifacts ?? json.artifacts ?? []) {
    const glob = pathIn(appRoot, one.glob);
    if (glob === null || glob === '.')
      return problem(
        `The artifact ${named(one.glob)} in ${EXPO_BUILD_JSON} leads out of the source, or is the whole of it. Name files or folders in the folder of the app.`,
      );
    artifacts.push({ ...one, glob });
  }
  const enter = appRoot === '.' ? '' : `cd '${appRoot.replaceAll("'", `'\\''`)}' || exit\n`;
  return found({ command: enter + command, artifacts });
}

/**
 * The controller's own rule for a field, so that this file accepts no value that the controller would refuse.
 */
function asInRequest(field: 'command' | 'artifacts' | 'project') {
  return (value: unknown, context: z.core.$RefinementCtx) => {
    const parsed = BuildRequest.shape[field].safeParse(value);
    if (!parsed.success)
      context.addIssue({ code: 'custom', message: `is refused: ${parsed.error.issues[0]!.message}` });
  };
}
