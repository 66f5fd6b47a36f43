/**
 * Makes arbitrary values that a zod schema accepts, by way of its JSON Schema, and values that are likely to
 * break their reader.
 */
import fc from 'fast-check';
import { z } from 'zod';

interface JsonSchema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
  propertyNames?: JsonSchema;
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
}

/**
 * Values that an honest caller might send. JSON Schema has no refinements, so the schema may still refuse
 * some of them.
 */
export const accepted = (schema: z.ZodType): fc.Arbitrary<unknown> =>
  arbitrary(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema);

function arbitrary(schema: JsonSchema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return fc.oneof(...either.map(arbitrary));
  switch (schema.type) {
    case 'string':
      if (schema.format === 'date-time') return fc.constantFrom('2026-01-01T00:00:00Z', '2099-12-31T23:59:59.999Z');
      if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern));
      return fc.string({ minLength: 1, maxLength: Math.min(schema.maxLength ?? 40, 40) });
    case 'integer':
    case 'number':
      return fc.integer({
        min: Math.max(schema.minimum ?? -1_000, -1_000_000),
        max: Math.min(schema.maximum ?? 1_000_000, 1_000_000_000),
      });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(arbitrary(schema.items ?? {}), { maxLength: 3 });
    case 'object': {
      if (!schema.properties) {
        const names = arbitrary(schema.propertyNames ?? { type: 'string' }) as fc.Arbitrary<string>;
        const values = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {};
        return fc.dictionary(names, arbitrary(values), { maxKeys: 3 });
      }
      const fields = Object.entries(schema.properties).map(([name, field]) => [name, arbitrary(field)]);
      const arbitraries: Record<string, fc.Arbitrary<unknown>> = Object.fromEntries(fields);
      return fc.record(arbitraries, { requiredKeys: schema.required ?? [] });
    }
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

/** Strings that have broken programs before. */
export const NASTY = [
  '',
  ' ',
  '\0',
  '\ud800',
  '\u202e\u0000',
  '😀'.repeat(40),
  'x'.repeat(5_000),
  '../../../../etc/passwd',
  '/etc/passwd',
  '..',
  '.',
  "'; DROP TABLE builds; --",
  '" OR 1=1',
  '$(reboot)',
  '`id`',
  '%s%n%00',
  '<script>alert(1)</script>',
  '\r\nX-Injected: 1',
  '__proto__',
  'constructor',
  '-1',
  '1e309',
  'null',
] as const;

const nested = (depth: number): unknown => (depth === 0 ? 0 : [nested(depth - 1)]);

export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(...NASTY),
  fc.constantFrom(null, true, 0, -0, -1, 0.5, 1e308, 2 ** 53, -(2 ** 63), Number.MIN_VALUE),
  fc.constantFrom(
    [],
    {},
    [[]],
    nested(40),
    Array.from({ length: 2_000 }, () => 0),
  ),
  fc.constant(JSON.parse('{"__proto__":{"admin":true},"constructor":{"prototype":{}},"toString":1}')),
  fc.jsonValue({ maxDepth: 3 }),
);

type Path = (string | number)[];
function pathsOf(value: unknown, here: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [here];
  return [here, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...here, key]))];
}

/** The value with one place of it replaced, removed or doubled. */
export function damaged(value: unknown, where: number, how: 'replace' | 'remove' | 'add', by: unknown): unknown {
  const paths = pathsOf(value);
  const path = paths[where % paths.length]!;
  if (path.length === 0) return how === 'remove' ? undefined : by;
  const copy = structuredClone(value) as Record<string, unknown>;
  let holder = copy;
  for (const key of path.slice(0, -1)) holder = holder[key] as Record<string, unknown>;
  const key = path.at(-1)!;
  if (how === 'replace') holder[key] = by;
  else if (how === 'remove') delete holder[key];
  else holder[`${key}2`] = by;
  return copy;
}
