/**
 * Who may import whom, as one table for the linter (biome.layers.json is made from it) and for imports.test.ts.
 *
 * Each list runs from top to bottom. A room imports rooms that stand in a lower row, never one of its own row or above.
 * A room is a folder below the top-level one, or a file that lies in the top-level folder itself.
 */
export const LAYERS = {
  controller: [
    ['index'],
    ['app'],
    ['routes'],
    ['upkeep'],
    ['build-log'],
    ['attempts'],
    ['workers'],
    ['access'],
    ['builds'],
    ['secrets', 'files'],
    ['validate'],
    ['database'],
    ['refusals', 'schema', 'settings'],
    ['ids', 'bytes', 'times', 'contract'],
  ],
  'worker-agent': [
    ['expo-worker'],
    ['commands'],
    ['agent'],
    ['attempt'],
    ['steps'],
    ['health-checks'],
    ['files', 'build-log', 'vm'],
    ['guest', 'tart'],
    ['mac'],
    ['heartbeat', 'state'],
    ['config'],
    ['config-findings', 'limits', 'events', 'ending', 'exit-codes', 'version'],
  ],
  client: [
    ['project'],
    ['follow-log', 'builds-client', 'admin-client'],
    ['upload'],
    ['attempt-client', 'worker-client', 'transfer'],
    ['retry'],
    ['request'],
    ['answer', 'event-stream', 'printable'],
  ],
  'log-reader': [['progress'], ['recognisers', 'errors'], ['phases', 'lines', 'prefixes']],
  local: [
    ['demo', 'chaos', 'dev', 'record'],
    ['farm', 'package'],
  ],
} as const satisfies Record<string, readonly (readonly string[])[]>;

/**
 * Which top-level folders a top-level folder imports. `controller` stands for all of it, `#contract` for its contract
 * alone. Tests are not listed: they may import everything.
 */
export const TOP_LEVEL = {
  'controller/contract': [],
  controller: ['#contract'],
  'log-reader': ['#contract'],
  client: ['#contract'],
  'worker-agent/tart-simulator': [],
  'worker-agent': ['#contract', 'client', 'log-reader'],
  local: ['#contract', 'client', 'log-reader', 'worker-agent', 'worker-agent/tart-simulator', 'controller'],
  bench: ['#contract', 'client', 'log-reader', 'worker-agent', 'worker-agent/tart-simulator', 'controller', 'local'],
} as const satisfies Record<string, readonly string[]>;
