/** Adds the forms that secret texts have inside JSON. Pure. */

/** Each text, and its form inside JSON, because a tool may print a job or an environment as JSON. */
export function withJsonForms(texts: readonly string[]): string[] {
  return [...new Set(texts.flatMap((text) => [text, JSON.stringify(text).slice(1, -1)]))];
}
