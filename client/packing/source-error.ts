/** Says in one or more whole sentences why a project cannot be packed, and what to do. */
export class SourceError extends Error {
  override name = 'SourceError';
}
