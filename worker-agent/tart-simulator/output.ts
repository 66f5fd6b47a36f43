/** Prints JSON as Apple's Foundation does: ` : ` after keys, escaped slashes, keys in no fixed order. */
export function foundationJson(value: unknown, indent = ''): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => `${inner}${foundationJson(item, inner)}`);
    return `[\n${items.join(',\n')}\n${indent}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = shuffled(Object.entries(value)).map(
      ([key, member]) => `${inner}${scalar(key)} : ${foundationJson(member, inner)}`,
    );
    return `{\n${members.join(',\n')}\n${indent}}`;
  }
  return scalar(value);
}

const scalar = (value: unknown) => JSON.stringify(value).replaceAll('/', '\\/');

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}
