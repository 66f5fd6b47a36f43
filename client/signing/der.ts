/**
 * Reads DER, the form of certificates, of .p12 files and of provisioning profiles.
 *
 * Invariant: every function throws DerError, and nothing else, for data that has another form.
 */
import forge from 'node-forge';

type Node = forge.asn1.Asn1;

export class DerError extends Error {
  override name = 'DerError';
}

const { Class, Type } = forge.asn1;

/** Ignores all bytes after the first object, because some programs end a file with a line break. */
export function parseDer(bytes: Buffer): Node {
  try {
    // The types do not know these options.
    const options = { strict: true, parseAllBytes: false, decodeBitStrings: false };
    return forge.asn1.fromDer(bytes.toString('latin1'), options as never);
  } catch (error) {
    throw new DerError(error instanceof Error ? error.message : 'no DER');
  }
}

export const isContext = (node: Node | undefined, number: number): node is Node =>
  node !== undefined && (node.tagClass as number) === Class.CONTEXT_SPECIFIC && (node.type as number) === number;

const isUniversal = (node: Node, type: forge.asn1.Type) =>
  (node.tagClass as number) === Class.UNIVERSAL && node.type === type;

export const isSequence = (node: Node | undefined): node is Node =>
  node !== undefined && isUniversal(node, Type.SEQUENCE);

/** The nodes in a sequence, a set or an explicit tag. */
export function childrenOf(node: Node | undefined): Node[] {
  if (node === undefined || !Array.isArray(node.value)) throw new DerError('an object with others in it is missing');
  return node.value;
}

/** Joins an octet string that consists of several octet strings. */
export function octetsOf(node: Node | undefined): Buffer {
  if (node === undefined) throw new DerError('an octet string is missing');
  if (!Array.isArray(node.value)) return Buffer.from(node.value, 'latin1');
  return Buffer.concat(node.value.map(octetsOf));
}

export function oidOf(node: Node | undefined): string {
  if (node === undefined || !isUniversal(node, Type.OID) || typeof node.value !== 'string')
    throw new DerError('the name of an algorithm is missing');
  return forge.asn1.derToOid(node.value);
}

/** Infinity for a number that is too large to be exact. */
export function integerOf(node: Node | undefined): number {
  if (node === undefined || !isUniversal(node, Type.INTEGER) || typeof node.value !== 'string')
    throw new DerError('a number is missing');
  const hex = Buffer.from(node.value, 'latin1').toString('hex').replace(/^0+/, '');
  return hex.length > 12 ? Number.POSITIVE_INFINITY : Number.parseInt(hex || '0', 16);
}

export function toDer(node: Node): Buffer {
  return Buffer.from(forge.asn1.toDer(node).getBytes(), 'latin1');
}
