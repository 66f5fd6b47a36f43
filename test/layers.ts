/**
 * Lists who may import whom, for the linter (biome.layers.json is made from it) and for imports.test.ts.
 *
 * Each list runs from top to bottom. A room imports only rooms of lower rows. A room is a folder below the
 * top-level folder, or a file in the top-level folder itself.
 */
export const LAYERS = {
  cli: [
    ['expo-build', 'build-cache-provider'],
    ['run-command'],
    ['commands'],
    ['submit'],
    ['follow'],
    ['github-actions', 'artifacts', 'build-cache'],
    ['settings', 'input'],
    ['command-error'],
    ['browser', 'exit-codes', 'interrupts', 'json-lines', 'version', 'words'],
  ],
  controller: [
    ['index'],
    ['app'],
    ['routes'],
    ['upkeep'],
    ['build-log'],
    ['attempts'],
    ['workers'],
    ['queue'],
    ['phase-history'],
    ['settings'],
    ['submissions', 'install-links'],
    ['build-cache'],
    ['builds'],
    ['stores'],
    ['access'],
    ['secrets', 'files'],
    ['projects'],
    ['validate'],
    ['database'],
    ['refusals', 'schema'],
    ['ids', 'bytes', 'times', 'subrequests', 'contract'],
  ],
  'worker-agent': [
    ['expo-worker'],
    ['commands'],
    ['agent', 'shell'],
    ['images'],
    ['attempt'],
    ['steps'],
    ['expo'],
    ['health-checks'],
    ['app-metadata'],
    ['files', 'build-log', 'vm'],
    ['guest', 'tart'],
    ['mac'],
    ['config'],
    ['heartbeat', 'state'],
    ['config-findings', 'time-limits', 'events', 'ending', 'exit-codes', 'version', 'vm-image'],
  ],
  client: [
    ['plan'],
    ['git-history'],
    ['signing', 'packing'],
    ['project'],
    ['builds-client', 'admin-client', 'project-client'],
    ['follow-log', 'upload'],
    ['attempt-client', 'worker-client'],
    ['blob-requests'],
    ['retry'],
    ['request'],
    ['answer', 'printable', 'running-clock', 'safe-files', 'terminal-filter'],
    ['has-process'],
  ],
  'log-reader': [['progress'], ['recognisers', 'errors'], ['gradle'], ['phases', 'lines', 'prefixes']],
  local: [
    ['demo', 'chaos', 'dev', 'record', 'steady'],
    ['farm', 'package', 'prose'],
  ],
} as const satisfies Record<string, readonly (readonly string[])[]>;

/**
 * The top-level folders that each top-level folder imports. `controller` stands for all of it, `#contract`
 * for its contract only. Tests have no row, because they may import everything.
 */
export const TOP_LEVEL = {
  'controller/contract': [],
  controller: ['#contract'],
  'log-reader': ['#contract'],
  client: ['#contract'],
  cli: ['#contract', 'client', 'log-reader'],
  'worker-agent/tart-simulator': [],
  'worker-agent': ['#contract', 'client', 'log-reader'],
  local: ['#contract', 'client', 'log-reader', 'worker-agent', 'worker-agent/tart-simulator', 'controller'],
  bench: [
    '#contract',
    'client',
    'log-reader',
    'worker-agent',
    'worker-agent/tart-simulator',
    'controller',
    'local',
    'test',
  ],
} as const satisfies Record<string, readonly string[]>;

type Row = readonly string[];

/** The linter's form of both tables: for each room, the imports that are refused there. */
export function biomeOverrides() {
  const tops = [...Object.keys(TOP_LEVEL).filter((name) => !name.includes('/')), 'test'];
  return Object.entries(LAYERS as Record<string, readonly Row[]>).flatMap(([folder, rows]) => {
    const allowed: Row = TOP_LEVEL[folder as keyof typeof TOP_LEVEL];
    const others = tops.filter((name) => name !== folder && !allowed.includes(name)).map((name) => `**/${name}/**`);
    return rows.flatMap((row, index) =>
      row.flatMap((room) => {
        const refused = [...rows.slice(0, index).flat(), ...row.filter((other) => other !== room)];
        const message = `${folder}/${room} does not import this: see test/layers.ts.`;
        const override = (includes: string, from: string) => ({
          includes: [includes],
          linter: {
            rules: {
              style: {
                noRestrictedImports: {
                  level: 'error',
                  options: {
                    patterns: [
                      {
                        group: [...others, ...refused.flatMap((name) => [`${from}${name}/**`, `${from}${name}.ts`])],
                        message,
                      },
                    ],
                  },
                },
              },
            },
          },
        });
        return [override(`${folder}/${room}/**`, '../'), override(`${folder}/${room}.ts`, './')];
      }),
    );
  });
}
