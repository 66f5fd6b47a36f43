/** Finds the folders of a source that take the most room. Pure. */

export interface SizedFolder {
  path: string;
  sizeBytes: number;
}

/** A folder with at least this share of its parent is shown in place of the parent. */
const MOST = 0.8;

export function largestFolders(files: readonly { path: string; sizeBytes: number }[], count: number): SizedFolder[] {
  const sizes = new Map<string, number>();
  const below = new Map<string, Set<string>>();
  for (const { path, sizeBytes } of files) {
    let inner: string | null = null;
    for (let end = path.lastIndexOf('/'); end !== -1; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end);
      sizes.set(folder, (sizes.get(folder) ?? 0) + sizeBytes);
      if (inner !== null) (below.get(folder) ?? below.set(folder, new Set()).get(folder)!).add(inner);
      inner = folder;
      if (end === 0) break;
    }
  }
  const bySize = (a: SizedFolder, b: SizedFolder) => b.sizeBytes - a.sizeBytes || (a.path < b.path ? -1 : 1);
  const narrowed = (path: string): string => {
    const most = [...(below.get(path) ?? [])].find((inner) => sizes.get(inner)! >= MOST * sizes.get(path)!);
    return most === undefined ? path : narrowed(most);
  };
  return [...sizes.keys()]
    .filter((path) => !path.includes('/'))
    .map(narrowed)
    .map((path) => ({ path, sizeBytes: sizes.get(path)! }))
    .sort(bySize)
    .slice(0, count);
}
