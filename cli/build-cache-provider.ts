/**
 * The build cache provider that Expo's command calls: `npx expo run:ios` gets the app with the same
 * fingerprint that the farm has built, and compiles nothing.
 *
 * Invariant: nothing here ends that command. It reports each failure in one line, and Expo then compiles the
 * app itself. So modules that can fail to load are imported within the calls.
 */
import type { CachedBuild } from '#contract';
import type { ProjectClient } from '../client/project-client.ts';

/** A developer waits for the answer to all questions together. */
const ANSWER_MS = 10_000;
/** From the offer to the app on this disk. If it takes longer, the app is compiled. */
const FETCH_MS = 5 * 60_000;

/** The arguments that Expo's command passes. */
interface Asked {
  projectRoot: string;
  platform: 'ios' | 'android';
  runOptions: { configuration?: string; variant?: string; scheme?: string | boolean; buildCache?: boolean };
}

/** Beside `plugin` in app.json. */
interface Options {
  /** The name of the project at the controller. */
  project?: string;
}

const provider = {
  calculateFingerprintHash: ({ projectRoot, platform, runOptions }: Asked): Promise<string | null> =>
    orNull(async () => {
      const { configuration = 'Debug', variant = 'debug', scheme, buildCache } = runOptions;
      if (buildCache === false) return null;
      // All flavours of an app have one fingerprint, so the cache has only builds without a flavour.
      const kind = platform === 'ios' ? configuration : variant;
      if (kind !== (platform === 'ios' ? 'Debug' : 'debug')) return said(`it has no builds of ${kind}, only of debug`);
      if (platform === 'ios' && scheme) return said('it does not know the scheme that a build was made of');
      const { fingerprintOf } = await import('./build-cache/fingerprint.ts');
      const made = await fingerprintOf(projectRoot, platform);
      return 'hash' in made ? made.hash : said(made.why);
    }),

  resolveBuildCache: (
    { projectRoot, platform, fingerprintHash }: Asked & { fingerprintHash: string },
    options: Options = {},
  ): Promise<string | null> =>
    orNull(async () => {
      const [{ connect }, { ProjectClient }, { BuildsClient }, { fetchApp }] = await Promise.all([
        import('./settings.ts'),
        import('../client/project-client.ts'),
        import('../client/builds-client.ts'),
        import('./build-cache/cached-app.ts'),
      ]);
      const connection = await connect();
      const endsAt = performance.now() + ANSWER_MS;
      const leftMs = () => Math.max(1, Math.ceil(endsAt - performance.now()));
      const client = new ProjectClient(connection);
      const project = options.project ?? (await projectIn(projectRoot)) ?? (await onlyProject(client, leftMs()));
      const cached = await client.cachedBuild(project, platform, fingerprintHash, leftMs());
      if (cached === null) return said(`no build of ${project} has the fingerprint ${fingerprintHash}`);
      await say(wordsFor(cached));
      const signal = AbortSignal.timeout(FETCH_MS);
      const { path, wasHere } = await fetchApp(new BuildsClient(connection), cached, signal);
      await say(`${wasHere ? 'it was on this disk' : 'downloaded it'}: ${path}`);
      return path;
    }),

  // An app that a developer's machine compiled may contain any file of that machine.
  uploadBuildCache: (): Promise<string | null> =>
    orNull(() => said('what this machine compiles is not uploaded; `expo-build submit` fills the cache')),
};
export default provider;

async function orNull(work: () => Promise<string | null>): Promise<string | null> {
  try {
    return await work();
  } catch (error) {
    return await said((error as Error).message).catch(() => null);
  }
}

/** Standard output may be piped. */
async function say(words: string): Promise<void> {
  const { printable } = await import('../client/printable.ts');
  process.stderr.write(`› Tartbeat: ${printable(words)}\n`);
}

async function said(words: string): Promise<null> {
  await say(words);
  return null;
}

/** As expo-build.json has it, which `expo-build submit` reads too. */
async function projectIn(projectRoot: string): Promise<string | undefined> {
  const [{ EXPO_BUILD_JSON, readExpoBuildJson }, { fileBeside }] = await Promise.all([
    import('../client/project/expo-build-json.ts'),
    import('../client/packing/files-of-source.ts'),
  ]);
  const json = await readExpoBuildJson(fileBeside({ root: projectRoot, appRoot: '.' }, EXPO_BUILD_JSON), '.');
  if (!json.ok) throw new Error(json.problem);
  return json.value.project;
}

async function onlyProject(client: ProjectClient, timeoutMs: number): Promise<string> {
  const [only, ...others] = await client.projects(timeoutMs);
  if (only && others.length === 0) return only.name;
  throw new Error(
    'which project is this? Write its name as `project` into expo-build.json. Your key reaches ' +
      (only ? [only, ...others].map(({ name }) => name).join(', ') : 'none'),
  );
}

/** Which build, of which commit, and who made it. */
function wordsFor({ build: { id, profile, origin, endedAt }, artifact, madeBy }: CachedBuild): string {
  const { commit, branch, dirty, author } = origin ?? {};
  const from =
    commit && `commit ${commit.slice(0, 12)}${branch ? ` of ${branch}` : ''}${dirty ? ', with changes' : ''}`;
  const by = `the key ${madeBy}${author ? ` for ${author}` : ''}`;
  const what = [profile && `profile ${profile}`, from ?? 'of no known commit', `made by ${by}`, endedAt].filter(
    Boolean,
  );
  return `${artifact.name} (${(artifact.size / 1e6).toFixed(1)} MB) of build ${id}: ${what.join(', ')}`;
}
