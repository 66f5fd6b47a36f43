/**
 * Derives keys from a password, as PKCS#12 files require, and decrypts with them. Pure.
 *
 * Invariant: the rounds of all keys of one file count against one budget, so that no file takes seconds.
 */
import { createDecipheriv, hash, pbkdf2Sync } from 'node:crypto';
import forge from 'node-forge';
import { childrenOf, integerOf, isSequence, octetsOf, oidOf } from './der.ts';

/**
 * The limit for all keys of one file, because 500,000 rounds take about a second. OpenSSL uses 2,048 rounds
 * for a key and Java 10,000.
 */
const ROUNDS_MAX = 500_000;

export class TooManyRounds extends Error {
  override name = 'TooManyRounds';
}

/** The name of an algorithm that this file does not know. */
export class UnknownAlgorithm extends Error {
  override name = 'UnknownAlgorithm';
}

export class Rounds {
  #left = ROUNDS_MAX;

  spend(count: number): void {
    if (!(count >= 1)) throw new UnknownAlgorithm('no rounds');
    this.#left -= count;
    if (this.#left < 0) throw new TooManyRounds();
  }
}

/** Names of Node for hashes, with the length of their blocks in bytes. */
export const HASHES: Readonly<Record<string, { name: string; blockBytes: number; digestBytes: number }>> = {
  '1.3.14.3.2.26': { name: 'sha1', blockBytes: 64, digestBytes: 20 },
  '2.16.840.1.101.3.4.2.1': { name: 'sha256', blockBytes: 64, digestBytes: 32 },
  '2.16.840.1.101.3.4.2.2': { name: 'sha384', blockBytes: 128, digestBytes: 48 },
  '2.16.840.1.101.3.4.2.3': { name: 'sha512', blockBytes: 128, digestBytes: 64 },
};

export const SHA1 = '1.3.14.3.2.26';

/** The password in the form of PKCS#12. Null means no password, which some programs use for an empty one. */
function wide(password: string | null): Buffer {
  return password === null ? Buffer.alloc(0) : Buffer.from(`${password}\0`, 'utf16le').swap16();
}

const repeated = (bytes: Buffer, blockBytes: number): Buffer =>
  Buffer.alloc(blockBytes * Math.ceil(bytes.length / blockBytes), bytes);

/** The purpose is 1 for a key, 2 for an initial vector, 3 for a MAC. RFC 7292, appendix B.2. */
export function pkcs12Key(
  rounds: Rounds,
  hashOid: string,
  password: string | null,
  salt: Buffer,
  purpose: 1 | 2 | 3,
  count: number,
  lengthBytes: number,
): Buffer {
  const algorithm = HASHES[hashOid];
  if (algorithm === undefined) throw new UnknownAlgorithm(hashOid);
  const { name, blockBytes } = algorithm;
  const blocks = [repeated(salt, blockBytes), repeated(wide(password), blockBytes)];
  const input = Buffer.concat(blocks);
  const made: Buffer[] = [];
  for (let size = 0; size < lengthBytes; size += made.at(-1)!.length) {
    rounds.spend(count);
    let digest = hash(name, Buffer.concat([Buffer.alloc(blockBytes, purpose), input]), 'buffer');
    for (let round = 1; round < count; round++) digest = hash(name, digest, 'buffer');
    made.push(digest);
    addToBlocks(input, repeated(digest, blockBytes).subarray(0, blockBytes));
  }
  return Buffer.concat(made).subarray(0, lengthBytes);
}

/** Adds the number plus one to each block of the input. */
function addToBlocks(input: Buffer, number: Buffer): void {
  for (let start = 0; start < input.length; start += number.length) {
    let carry = 1;
    for (let index = number.length - 1; index >= 0; index--) {
      carry += input[start + index]! + number[index]!;
      input[start + index] = carry & 0xff;
      carry >>= 8;
    }
  }
}

/** The ciphers of PKCS#12 itself, all with SHA-1. */
const OWN_CIPHERS: Readonly<Record<string, { keyBytes: number; rc2Bits?: number }>> = {
  '1.2.840.113549.1.12.1.3': { keyBytes: 24 },
  '1.2.840.113549.1.12.1.4': { keyBytes: 16 },
  '1.2.840.113549.1.12.1.5': { keyBytes: 16, rc2Bits: 128 },
  '1.2.840.113549.1.12.1.6': { keyBytes: 5, rc2Bits: 40 },
};

const PBES2 = '1.2.840.113549.1.5.13';
const PBKDF2 = '1.2.840.113549.1.5.12';
const PBKDF2_HASHES: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.8': 'sha224',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
};
const MODERN_CIPHERS: Readonly<Record<string, { name: string; keyBytes: number }>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32 },
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyBytes: 24 },
};

/** Both macOS and Expo's engine open these: triple DES, and RC2 with 40 bits. */
const COMMON_CIPHERS = ['1.2.840.113549.1.12.1.3', '1.2.840.113549.1.12.1.6'];

export const isCommonCipher = (algorithm: forge.asn1.Asn1): boolean =>
  COMMON_CIPHERS.includes(oidOf(childrenOf(algorithm)[0]));

/** If the password is wrong, the cipher throws an error. */
export function decrypt(
  rounds: Rounds,
  algorithm: forge.asn1.Asn1,
  password: string | null,
  encrypted: Buffer,
): Buffer {
  const [name, parameters] = childrenOf(algorithm);
  const oid = oidOf(name);
  if (oid === PBES2) return decryptModern(rounds, childrenOf(parameters), password, encrypted);
  const cipher = OWN_CIPHERS[oid];
  if (cipher === undefined) throw new UnknownAlgorithm(oid);
  const [salt, count] = childrenOf(parameters);
  const make = (purpose: 1 | 2, lengthBytes: number) =>
    pkcs12Key(rounds, SHA1, password, octetsOf(salt), purpose, integerOf(count), lengthBytes);
  const key = make(1, cipher.keyBytes);
  const vector = make(2, 8);
  if (cipher.rc2Bits !== undefined) return decryptRc2(key, cipher.rc2Bits, vector, encrypted);
  const whole = cipher.keyBytes === 16 ? Buffer.concat([key, key.subarray(0, 8)]) : key;
  const decipher = createDecipheriv('des-ede3-cbc', whole, vector);
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}

function decryptModern(
  rounds: Rounds,
  parameters: forge.asn1.Asn1[],
  password: string | null,
  encrypted: Buffer,
): Buffer {
  const [derivation, scheme] = parameters.map(childrenOf);
  if (oidOf(derivation?.[0]) !== PBKDF2) throw new UnknownAlgorithm(oidOf(derivation?.[0]));
  const [salt, count, ...more] = childrenOf(derivation?.[1]);
  const prf = more.find(isSequence);
  const digest = PBKDF2_HASHES[prf === undefined ? '1.2.840.113549.2.7' : oidOf(childrenOf(prf)[0])];
  const cipher = MODERN_CIPHERS[oidOf(scheme?.[0])];
  if (digest === undefined || cipher === undefined) throw new UnknownAlgorithm('of PBES2');
  // These rounds run in OpenSSL, which is much faster than the rounds of PKCS#12 above.
  rounds.spend(Math.ceil(integerOf(count) / 2));
  const key = pbkdf2Sync(password ?? '', octetsOf(salt), integerOf(count), cipher.keyBytes, digest);
  const decipher = createDecipheriv(cipher.name, key, octetsOf(scheme?.[1]));
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}

/** Node has no RC2. */
function decryptRc2(key: Buffer, bits: number, vector: Buffer, encrypted: Buffer): Buffer {
  const bytes = (buffer: Buffer) => forge.util.createBuffer(buffer.toString('latin1'));
  // The types do not have this cipher.
  const rc2 = (forge as unknown as { rc2: { createDecryptionCipher(key: unknown, bits: number): Rc2 } }).rc2;
  const cipher = rc2.createDecryptionCipher(bytes(key), bits);
  cipher.start(bytes(vector));
  cipher.update(bytes(encrypted));
  if (!cipher.finish()) throw new Error('bad decrypt');
  return Buffer.from(cipher.output.getBytes(), 'latin1');
}

interface Rc2 {
  start(vector: unknown): void;
  update(input: unknown): void;
  finish(): boolean;
  output: forge.util.ByteStringBuffer;
}
