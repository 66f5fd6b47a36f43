/**
 * Serves one Worker of this repository with workerd, D1, R2 and Durable Objects, until it gets SIGTERM.
 * controller.ts starts this program and gives it its {@link ServeOptions} as standard input.
 *
 * It does the same as `wrangler dev`, without the parts for somebody who edits: no watching, no proxy for
 * reloads, no inspector. The demo and the tests start dozens of controllers, and this starts them faster.
 */
import { createRequire, enableCompileCache } from 'node:module';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { PROJECT_ROOT } from '../project-root.ts';
import { bindingsOfConfiguration } from './bindings.ts';
import { bundleOf } from './bundle.ts';

export interface ServeOptions {
  entry: string;
  host: string;
  port: number;
  stateDir: string;
  /** Variables and secrets, besides those of wrangler.toml. */
  bindings: Record<string, string>;
}

enableCompileCache(process.env.NODE_COMPILE_CACHE ?? path.join(PROJECT_ROOT, 'node_modules/.cache/node-compile'));
const { entry, host, port, stateDir, bindings } = JSON.parse(await text(process.stdin)) as ServeOptions;
const { Miniflare, convertV4MiniflareOptions, Log, LogLevel } = createRequire(import.meta.url)(
  'miniflare',
) as typeof import('miniflare');

const [code, configured] = await Promise.all([bundleOf(entry), bindingsOfConfiguration(Object.keys(bindings))]);
const worker = {
  ...configured,
  rootPath: PROJECT_ROOT,
  name: 'tartbeat',
  bindings: { ...configured.bindings, ...bindings },
  modulesRoot: PROJECT_ROOT,
  modules: [{ type: 'ESModule' as const, path: path.join(PROJECT_ROOT, 'worker.js'), contents: code }],
};
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    ...{ host, port, workers: [worker] },
    // wrangler looks here for the same database when it applies migrations.
    resourcePersistencePath: path.join(stateDir, 'v3'),
    cf: false,
    unsafeTriggerHandlers: true,
    logRequests: false,
    telemetry: { enabled: false },
    unsafeLocalExplorer: false,
    unsafeObservability: false,
    log: new Log(LogLevel.WARN),
    handleStructuredLogs: ({ level, message }) => {
      if (level === 'error' || level === 'warn') console.error(message);
      else console.log(message);
    },
  } as Parameters<typeof convertV4MiniflareOptions>[0]),
);
// workerd gets the same signal. It ends by itself, and Miniflare removes its folder when this process exits.
for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(name, () => process.exit());
await miniflare.ready;
