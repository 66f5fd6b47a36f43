/**
 * Reads the processes of a build's account from what `evidence processes` prints, and picks those that tell
 * what the build waited for. Pure.
 *
 * Invariant: secrets are taken out of a command before it is cut, so that no part of one is left.
 */
import { PROCESS_COMMAND_MAX, PROCESS_STATE_MAX, PROCESSES_MAX, type ProcessSeen } from '#contract';

interface Row {
  pid: number;
  parent: number;
  group: number;
  elapsedS: number;
  cpuPercent: number;
  state: string;
  command: string;
}

const ROW = /^(\d+) (\d+) (\d+) +(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+) +([\d.]+) +(\S+) +(.+)$/;

/**
 * The processes that began after the command. First come those without a child: those of the build's process
 * group and its descendants, then services that it has started. Processes with a child come last. Null if
 * the list was cut short, or the command of the build is not in it.
 */
export function parseProcesses(stdout: string, mask: (text: string) => string): ProcessSeen[] | null {
  const lines = stdout.split('\n');
  const build = Number(/^build=(\d+)$/.exec(lines[0]!)?.[1]);
  if (!build || lines.at(-2) !== 'whole') return null;
  const rows = lines.flatMap(rowOf);
  const leader = rows.find(({ pid }) => pid === build);
  if (!leader) return null;
  const ofBuild = descendantsOf(leader, rows);
  const parents = new Set(rows.map(({ parent }) => parent));
  const rank = ({ pid }: Row) => (parents.has(pid) ? 2 : ofBuild.has(pid) ? 0 : 1);
  return rows
    .filter(({ elapsedS }) => elapsedS <= leader.elapsedS)
    .sort((a, b) => rank(a) - rank(b) || a.pid - b.pid)
    .slice(0, PROCESSES_MAX)
    .map(({ pid, elapsedS, cpuPercent, state, command }) => ({
      ...{ pid, elapsedMs: elapsedS * 1_000, cpuPercent, state: state.slice(0, PROCESS_STATE_MAX) },
      command: mask(command).slice(0, PROCESS_COMMAND_MAX),
    }));
}

function rowOf(line: string): Row[] {
  const match = ROW.exec(line);
  if (!match) return [];
  const [pid, parent, group, days = 0, hours = 0, minutes, seconds, cpuPercent] = match
    .slice(1, 9)
    .map((figure) => (figure === undefined ? undefined : Number(figure))) as [number, number, number, ...number[]];
  const elapsedS = ((days * 24 + hours) * 60 + minutes!) * 60 + seconds!;
  return [{ pid, parent, group, elapsedS, cpuPercent: cpuPercent!, state: match[9]!, command: match[10]! }];
}

/** Pids of the leader's process group, and of all its descendants. */
function descendantsOf(leader: Row, rows: readonly Row[]): Set<number> {
  const found = new Set(rows.filter(({ group }) => group === leader.group).map(({ pid }) => pid));
  for (let grown = true; grown; ) {
    const more = rows.filter(({ pid, parent }) => found.has(parent) && !found.has(pid));
    for (const { pid } of more) found.add(pid);
    grown = more.length > 0;
  }
  return found;
}
