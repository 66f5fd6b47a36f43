/** Says in one or more whole sentences why a project cannot be packed, and what to do. */
export class SourceError extends Error {
  override name = 'SourceError';
}

/** A new .easignore alone would replace the rules of git, and bring the files that they keep out. */
export const OR_LEAVE_IT_OUT =
  'or name it in .easignore and give `--easignore-adds`, with which the rules of git still hold';
