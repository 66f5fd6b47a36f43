/**
 * Reads xcodebuild's own output. xcodebuild prints its plan (the targets) before the first command, and the
 * target of each command at the end of the line. The share done is the sum of the progress of all targets.
 * Each command counts by its cost.
 */
import { type Recogniser, ratio, type Sighting } from './recogniser.ts';

/**
 * Cost of one command where compiling one C++ file is 1; formatters print a line for about each that costs 1
 * or more.
 */
const COSTS: Record<string, number> = {
  CompileC: 1,
  CompileSwift: 1,
  SwiftCompile: 1,
  SwiftDriver: 1,
  CompileSwiftSources: 2,
  SwiftEmitModule: 1,
  PhaseScriptExecution: 2,
  Ld: 1.5,
  Libtool: 0.5,
  CodeSign: 1,
  CompileAssetCatalog: 3,
  CompileAssetCatalogVariant: 3,
  CompileStoryboard: 1.5,
  CompileXIB: 1,
  GenerateDSYMFile: 2,
  ProcessPCH: 1,
  'ProcessPCH++': 1,
};
/** Copying, writing, making folders. */
const CHEAP = 0.1;
/** After one of these commands a target is almost done. */
const LAST_COMMANDS = new Set(['Touch', 'RegisterWithLaunchServices', 'Validate', 'CodeSign', 'Libtool']);
/** Cost after which a target counts as about two thirds done; most targets of an app are about this size. */
const TARGET_COST = 15;
/** A target that has begun but not ended counts for at most this much. */
const UNFINISHED_MAX = 0.9;
const TARGETS_MAX = 5_000;

const GRAPH = /^note: Target dependency graph \((\d+) targets?\)/;
/** Xcode 10 wrote `(in target: X)`. */
const COMMAND = /^([A-Z][A-Za-z+]{1,40}) .*\(in target(?: '([^']+)' from project '[^']*'|: ([^)]+))\)$/;
const EXPORT = /^ {4}\/?\S*xcodebuild -exportArchive/;
const OLD_TARGET = /^=== (?:BUILD|CLEAN|ANALYZE) (?:AGGREGATE )?TARGET (.+) OF PROJECT .+ ===/;
const OLD_COMMAND =
  /^(CompileC|CompileSwift|CompileSwiftSources|Ld|Libtool|PhaseScriptExecution|ProcessPCH|ProcessPCH\+\+|CompileXIB|CompileStoryboard|CompileAssetCatalog|CodeSign|GenerateDSYMFile|CpHeader|CopyPlistFile|CpResource|PBXCp|Ditto|Touch|ProcessInfoPlistFile|CopyStringsFile|Copy|SetOwnerAndGroup|SetMode|Strip|Validate)\s/;
const SWIFT_PACKAGE = /^\[(\d+)\/(\d+)\] (?:Compiling|Linking (?!dep)|Emitting|Write|Build |Copying|Archiving|Merging)/;

const PREPARING: Sighting = { phase: 'xcode', label: 'Preparing the native build' };
const RESOLVING: Sighting = { phase: 'xcode', label: 'Resolving Swift packages' };
/** Keyed by the first character of the line, because there are many and most lines match none of them. */
const MILESTONES: Record<string, readonly [RegExp, Sighting][]> = {
  '*': [
    [/^\*\* CLEAN SUCCEEDED \*\*/, { phase: 'xcode' }],
    [/^\*\* (?:BUILD|ANALYZE|TEST BUILD|ARCHIVE) SUCCEEDED \*\*/, { phase: 'xcode', share: 0.98, ended: true }],
    [/^\*\* (?:BUILD|ARCHIVE) FAILED \*\*/, { phase: 'xcode', ended: true }],
    [/^\*\* EXPORT (?:SUCCEEDED|FAILED) \*\*/, { phase: 'export', ended: true }],
    [/^\*\* TEST (?:EXECUTE )?(?:SUCCEEDED|FAILED) \*\*/, { phase: 'test', ended: true }],
  ],
  B: [[/^Build settings from command line:/, PREPARING]],
  C: [
    [/^(?:Command line invocation:|ComputeTargetDependencyGraph|Create build description)/, PREPARING],
    [/^(?:Cloning |Checking out |Creating working copy)/, RESOLVING],
  ],
  F: [[/^Fetching from /, RESOLVING]],
  P: [[/^Prepare packages/, PREPARING]],
  R: [[/^Resolve Package Graph/, RESOLVING]],
  T: [
    [/^Test Case '[^']*' (?:passed|failed) \(/, { phase: 'test', work: 1 }],
    [/^Test (?:Suite|Case) '/, { phase: 'test' }],
  ],
  U: [[/^User defaults from command line:/, PREPARING]],
  '=': [[/^={3} TEST TARGET /, { phase: 'test' }]],
};
const LABELS: Record<string, string> = { GenerateDSYMFile: 'Generating debug symbols' };

export const xcodebuild: Recogniser = {
  tool: 'xcodebuild',
  starts: ' \tABCDEFGHIJKLMNOPQRSTUVWXYZn=*[',
  create() {
    /**
     * The progress of each target, 0 to 1, and the sum of all. The sum is updated with each target, so that
     * no line needs a loop over all targets.
     */
    const weights = new Map<string, number>();
    const shares = new Map<string, number>();
    let sum = 0;
    let planned = 0;
    let oldTarget: string | null = null;

    const progress = (target: string, verb: string, weight: number): number | undefined => {
      if (weights.size >= TARGETS_MAX && !weights.has(target)) return undefined;
      const total = (weights.get(target) ?? 0) + weight;
      weights.set(target, total);
      const before = shares.get(target) ?? 0;
      const after = LAST_COMMANDS.has(verb) ? 1 : UNFINISHED_MAX * (1 - Math.exp(-total / TARGET_COST));
      if (after > before) {
        shares.set(target, after);
        sum += after - before;
      }
      return planned > 0 ? Math.min(sum / Math.max(planned, shares.size), 0.97) : undefined;
    };

    const command = (verb: string, target: string, line: string): Sighting => {
      const work = COSTS[verb] ?? CHEAP;
      const share = progress(target, verb, work);
      const bundling = verb === 'PhaseScriptExecution' && line.includes('Bundle\\ React\\ Native');
      const label = bundling ? 'Bundling JavaScript' : (LABELS[verb] ?? 'Compiling native code');
      return { phase: 'xcode', work, label, ...(share !== undefined && { share }) };
    };

    const oldCommand = (line: string): Sighting | null => {
      const match = oldTarget === null ? null : OLD_COMMAND.exec(line);
      return match && command(match[1] ?? '', oldTarget ?? '', line);
    };

    const readers: Record<string, (line: string) => Sighting | null> = {
      n(line) {
        const graph = GRAPH.exec(line);
        if (!graph) return null;
        // A second graph belongs to a second action (clean, then build), so the count begins again.
        planned = Math.min(Number(graph[1]), TARGETS_MAX);
        weights.clear();
        shares.clear();
        sum = 0;
        return PREPARING;
      },
      '='(line) {
        const target = OLD_TARGET.exec(line);
        if (target) oldTarget = target[1] ?? '';
        return target && { phase: 'xcode', label: 'Compiling native code' };
      },
      '['(line) {
        const counted = SWIFT_PACKAGE.exec(line);
        return counted && { phase: 'xcode', work: 1, share: ratio(counted[1], counted[2]) };
      },
      // Most of a raw log is the indented text of commands; only the invocation is worth a look there.
      ' ': (line) => (EXPORT.test(line) ? { phase: 'export' } : null),
      '\t': () => null,
    };

    return (line) => {
      const first = line.charAt(0);
      const isCommand = first >= 'A' && first <= 'Z' && line.endsWith(')');
      const match = isCommand ? COMMAND.exec(line) : null;
      if (match) return command(match[1] ?? '', match[2] ?? match[3] ?? '', line);
      const sighting = readers[first]?.(line) ?? oldCommand(line);
      if (sighting) return sighting;
      for (const [pattern, milestone] of MILESTONES[first] ?? []) if (pattern.test(line)) return milestone;
      return null;
    };
  },
};
