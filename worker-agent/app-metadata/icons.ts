/** Chooses the icon among the files that an app names. */
import type { Budget } from './budget.ts';
import { commonPng, widthOfPng } from './png.ts';

/** The largest icon that can be read, as a common PNG. Null if none can be read. */
export function largestIcon(files: readonly Buffer[], budget: Budget): Buffer | null {
  const sized = files.map((file) => ({ file, width: widthOfPng(file) })).filter(({ width }) => width > 0);
  for (const { file } of sized.toSorted((a, b) => b.width - a.width)) {
    try {
      const png = commonPng(file, budget);
      if (png) return png;
    } catch {
      // This icon is skipped. An app can be shown without one.
    }
  }
  return null;
}
