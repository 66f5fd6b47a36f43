/** Chooses the icon among the files that an app names. */
import type { Budget } from './budget.ts';
import { commonPng, widthOfPng } from './png.ts';

/** The first that can be read, from the largest to the smallest, as a common PNG. Null: none can. */
export function largestIcon(files: readonly Buffer[], budget: Budget): Buffer | null {
  const sized = files.map((file) => ({ file, width: widthOfPng(file) })).filter(({ width }) => width > 0);
  for (const { file } of sized.toSorted((a, b) => b.width - a.width)) {
    try {
      const png = commonPng(file, budget);
      if (png) return png;
    } catch {
      // An app without a picture is still an app.
    }
  }
  return null;
}
