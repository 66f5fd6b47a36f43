/**
 * Makes the private inputs of an attempt from the inputs of its build and the stored secrets of its project
 * and pool.
 *
 * Invariant: stored secrets are read when an attempt asks for them, and never copied to the build. Only a
 * trusted build of a named project in a trusted pool receives them, and only while the key that requested it
 * still has `secrets.use`. If the key lost that right meanwhile, the build is refused. It never continues
 * silently without the secrets.
 */
import { INPUTS_MAX_BYTES, type Inputs, looksSecret, SECRET_FILES_MAX, VARIABLES_MAX, whyPathsClash } from '#contract';
import { whyNoMore } from '../access/still-may.ts';
import type { BuildRow } from '../builds/rows.ts';
import { noteSecrets } from '../builds/writes-without-event.ts';
import { toBytes } from '../bytes.ts';
import { openDatabase } from '../database.ts';
import { DEFAULT_PROJECT_ID } from '../projects/find-project.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { readInputs } from '../secrets/read-inputs.ts';
import { openSecret, readSecretsFor, type SecretContent, type SecretRow, usage } from '../secrets/stored-secrets.ts';

/**
 * Refused: `inputs_gone` if the build can never have them; `inputs_key_missing` while INPUTS_KEY lacks a key.
 * The refusal of one build says nothing about another one.
 */
export async function inputsOfAttempt(
  env: Env,
  build: BuildRow,
  attempt: number,
  now: number,
): Promise<{ ok: true; inputs: Inputs } | Refusal> {
  const given = await readInputs(env, build.id);
  if (!given.ok) return given;
  const own = given.inputs ?? { env: {} };
  const stored = await secretsOf(env, build, own, now);
  if (!stored.ok) return stored;
  if (stored.rows.length === 0) return { ok: true, inputs: own };
  const inputs = merged(own, stored.contents);
  const refused = refuseTogether(build, inputs);
  if (refused) return refused;
  const ids = stored.rows.map(({ id }) => id);
  const pairs = stored.rows.map(({ id, version }): [string, number] => [id, version]);
  await noteSecrets(env, build.id, attempt, pairs, usage(openDatabase(env), ids, build.id, now));
  return { ok: true, inputs };
}

/** The stored secrets that the build receives, opened. Those that the build brings itself are left out. */
async function secretsOf(
  env: Env,
  build: BuildRow,
  own: Inputs,
  now: number,
): Promise<{ ok: true; rows: SecretRow[]; contents: SecretContent[] } | Refusal> {
  const { projectId, pool, trusted, usesSecrets } = build;
  const none = { ok: true as const, rows: [], contents: [] };
  if (!usesSecrets || !trusted || projectId === '' || projectId === DEFAULT_PROJECT_ID) return none;
  const rows = (await readSecretsFor(env, projectId, pool)).filter((row) => !brings(own, row));
  if (rows.length === 0) return none;
  const why = await whyNoMore(env, build, 'secrets.use', { projectId, pool, trusted }, now);
  if (why !== null)
    return refusal(
      'inputs_gone',
      `build ${build.id} needs the stored secrets of its project, and the key that requested it ${why}. ` +
        'Submit the build anew with a key that has the right `secrets.use`.',
    );
  const contents: SecretContent[] = [];
  for (const row of rows) {
    const opened = await openSecret(env, row);
    if (!opened.ok) return opened;
    contents.push({ name: row.name, path: row.path, content: opened.content });
  }
  return { ok: true, rows, contents };
}

const brings = ({ env, secretFiles = {} }: Inputs, { name, path }: SecretRow): boolean =>
  path === null ? Object.hasOwn(env, name) : Object.hasOwn(secretFiles, path);

/** Pure. An input that the build brings itself wins over a stored secret. */
export function merged(own: Inputs, stored: readonly SecretContent[]): Inputs {
  const variables = stored.filter(({ path }) => path === null);
  const files = stored.filter(({ path }) => path !== null);
  const inputs: Inputs = { ...own, env: { ...Object.fromEntries(variables.map(contentOf)), ...own.env } };
  if (files.length > 0) inputs.secretFiles = { ...Object.fromEntries(files.map(contentOf)), ...own.secretFiles };
  if (variables.length > 0) {
    const names = variables.map(({ name }) => name).filter((name) => !Object.hasOwn(own.env, name));
    inputs.secretNames = [...(own.secretNames ?? secretLooking(own.env)), ...names];
  }
  return inputs;
}

const contentOf = ({ name, path, content }: SecretContent): [string, string] => [path ?? name, content];

/**
 * If the inputs name no secret variables, an agent guesses which ones are secret. Once the stored secrets are
 * named, it would stop guessing. So the guess is made here.
 */
const secretLooking = (env: Inputs['env']): string[] =>
  Object.keys(env).filter((name) => looksSecret(name, env[name]!));

/** The build's own inputs and the stored secrets may each fit the limits, but not both together. */
function refuseTogether({ id }: BuildRow, { env, secretFiles = {} }: Inputs): Refusal | null {
  const counts: [count: number, max: number, what: string][] = [
    [Object.keys(env).length, VARIABLES_MAX, 'variables'],
    [Object.keys(secretFiles).length, SECRET_FILES_MAX, 'secret files'],
    [toBytes(JSON.stringify({ env, secretFiles })).byteLength, INPUTS_MAX_BYTES, 'bytes of variables and secret files'],
  ];
  const [count, max, what] = counts.find(([count, max]) => count > max) ?? [];
  const clash = whyPathsClash(Object.keys(secretFiles));
  if (clash !== null)
    return refusal(
      'inputs_gone',
      `secretFiles: build ${id} cannot have its own secret files and the stored ones of its project: ${clash}. ` +
        'Change the path of one of them, and submit the build anew.',
    );
  if (what === undefined) return null;
  return refusal(
    'inputs_gone',
    `build ${id} would have ${count} ${what}, the stored secrets of its project included, and may have ${max}. ` +
      'Delete stored secrets that nobody needs, or submit the build anew with fewer.',
  );
}
