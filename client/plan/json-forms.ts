/** The forms that a secret text has inside JSON. Pure. */

/** Each text, and how it looks inside a JSON text, which a tool may print of a job or of an environment. */
export function withJsonForms(texts: readonly string[]): string[] {
  return [...new Set(texts.flatMap((text) => [text, JSON.stringify(text).slice(1, -1)]))];
}
