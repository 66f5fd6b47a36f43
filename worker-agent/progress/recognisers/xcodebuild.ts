/**
 * xcodebuild's own output. It prints its plan (the targets) before the first command and the target of each command at
 * the end of its line: the share done is the sum over the targets of how far each is. Commands count by their weight.
 */
import type { Recogniser, Sighting } from './recogniser.ts';

/** Relative cost of one command; what is not listed is cheap. */
const COSTLY: Record<string, number> = {
  CompileC: 4,
  CompileSwift: 4,
  SwiftCompile: 4,
  SwiftDriver: 4,
  CompileSwiftSources: 8,
  SwiftEmitModule: 4,
  SwiftMergeGeneratedHeaders: 1,
  PhaseScriptExecution: 8,
  Ld: 6,
  Libtool: 2,
  CodeSign: 4,
  CompileAssetCatalog: 12,
  CompileAssetCatalogVariant: 12,
  CompileStoryboard: 6,
  CompileXIB: 4,
  GenerateDSYMFile: 8,
  ProcessPCH: 4,
  'ProcessPCH++': 4,
};
const CHEAP = 1;
/** With these a target is as good as done. */
const LAST_COMMANDS = new Set(['Touch', 'RegisterWithLaunchServices', 'Validate', 'CodeSign', 'Libtool']);
/** Weight after which a target counts as about two thirds done; most targets of an app are about this size. */
const TARGET_WEIGHT = 80;
/** A target that has begun but not ended counts for at most this much. */
const UNFINISHED_MAX = 0.9;
const TARGETS_MAX = 5_000;

const GRAPH = /^note: Target dependency graph \((\d+) targets?\)/;
const GRAPH_TARGET = /^ {4}Target '(.+)' in project '/;
const COMMAND = /^([A-Z][A-Za-z+]{1,40}) .*\(in target '([^']+)' from project '/;
const OLD_TARGET = /^=== (BUILD|CLEAN|ANALYZE) (?:AGGREGATE )?TARGET (.+) OF PROJECT .+ ===/;
const OLD_COMMAND =
  /^(CompileC|CompileSwift|CompileSwiftSources|Ld|Libtool|PhaseScriptExecution|ProcessPCH|ProcessPCH\+\+|CompileXIB|CompileStoryboard|CompileAssetCatalog|CodeSign|GenerateDSYMFile|CpHeader|CopyPlistFile|CpResource|PBXCp|Ditto|Touch|ProcessInfoPlistFile|CopyStringsFile|Copy|SetOwnerAndGroup|SetMode|Strip|Validate)\s/;
const SWIFT_PACKAGE = /^\[(\d+)\/(\d+)\] (?:Compiling|Linking (?!dep)|Emitting|Write|Build |Copying|Archiving|Merging)/;

const MILESTONES: readonly [RegExp, Sighting][] = [
  [/^\*\* CLEAN SUCCEEDED \*\*/, { phase: 'xcode' }],
  [/^\*\* (?:BUILD|ANALYZE|TEST BUILD) SUCCEEDED \*\*/, { phase: 'xcode', share: 0.98, ended: true }],
  [/^\*\* ARCHIVE SUCCEEDED \*\*/, { phase: 'xcode', share: 0.98, ended: true }],
  [/^\*\* EXPORT SUCCEEDED \*\*/, { phase: 'export', ended: true }],
  [/^\*\* (?:BUILD|ARCHIVE) FAILED \*\*/, { phase: 'xcode', ended: true }],
  [/^\*\* TEST (?:SUCCEEDED|FAILED|EXECUTE SUCCEEDED|EXECUTE FAILED) \*\*/, { phase: 'test', ended: true }],
  [/^\s+\/?\S*xcodebuild -exportArchive/, { phase: 'export' }],
  [
    /^(?:Command line invocation:|Build settings from command line:|User defaults from command line:)/,
    {
      phase: 'xcode',
      label: 'Preparing the native build',
    },
  ],
  [
    /^(?:Resolve Package Graph|Fetching from |Cloning |Checking out |Creating working copy)/,
    {
      phase: 'xcode',
      label: 'Resolving Swift packages',
    },
  ],
  [
    /^(?:Prepare packages|ComputeTargetDependencyGraph|Create build description)/,
    {
      phase: 'xcode',
      label: 'Preparing the native build',
    },
  ],
  [/^Test Case .* (?:passed|failed) \(/, { phase: 'test', work: 1 }],
  [/^Test (?:Suite|Case) '/, { phase: 'test' }],
  [/^={3} TEST TARGET /, { phase: 'test' }],
];
const LABELS: Record<string, string> = { GenerateDSYMFile: 'Generating debug symbols' };

export const xcodebuild: Recogniser = {
  tool: 'xcodebuild',
  starts: null,
  create() {
    /** How far each target is, 0 to 1, and the sum of it; kept in step so that no line costs a walk over all targets. */
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
      const after = LAST_COMMANDS.has(verb) ? 1 : UNFINISHED_MAX * (1 - Math.exp(-total / TARGET_WEIGHT));
      if (after > before) {
        shares.set(target, after);
        sum += after - before;
      }
      return planned > 0 ? Math.min(sum / Math.max(planned, shares.size), 0.97) : undefined;
    };

    const command = (verb: string, target: string, line: string): Sighting => {
      const work = COSTLY[verb] ?? CHEAP;
      const share = progress(target, verb, work);
      const bundling = verb === 'PhaseScriptExecution' && line.includes('Bundle\\ React\\ Native');
      const label = bundling ? 'Bundling JavaScript' : (LABELS[verb] ?? 'Compiling native code');
      return { phase: 'xcode', work, label, ...(share !== undefined && { share }) };
    };

    return (line) => {
      const first = line.charCodeAt(0);
      // Most of a raw log is the indented text of commands; only the graph and the invocation are worth a look there.
      if (first === 0x20 || first === 0x09) {
        const isGraph = GRAPH_TARGET.exec(line);
        if (isGraph) return { phase: 'xcode', label: 'Preparing the native build' };
        return line.includes('xcodebuild -exportArchive') ? { phase: 'export' } : null;
      }
      if (first >= 0x41 && first <= 0x5a) {
        const match = line.includes("(in target '") ? COMMAND.exec(line) : null;
        if (match) return command(match[1] ?? '', match[2] ?? '', line);
        if (oldTarget !== null) {
          const old = OLD_COMMAND.exec(line);
          if (old) return command(old[1] ?? '', oldTarget, line);
        }
      }
      const graph = first === 0x6e ? GRAPH.exec(line) : null;
      if (graph) {
        // A second graph belongs to a second action (clean, then build): what was counted before is not part of it.
        planned = Math.min(Number(graph[1]), TARGETS_MAX);
        weights.clear();
        shares.clear();
        sum = 0;
        return { phase: 'xcode', label: 'Preparing the native build' };
      }
      if (first === 0x5b) {
        const counted = SWIFT_PACKAGE.exec(line);
        if (counted) return { phase: 'xcode', work: 1, share: Number(counted[1]) / Math.max(Number(counted[2]), 1) };
      }
      const target = first === 0x3d ? OLD_TARGET.exec(line) : null;
      if (target) {
        oldTarget = target[2] ?? '';
        return { phase: 'xcode', label: 'Compiling native code' };
      }
      for (const [pattern, sighting] of MILESTONES) if (pattern.test(line)) return sighting;
      return null;
    };
  },
};
