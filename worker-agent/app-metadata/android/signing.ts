/**
 * Tells with which kind of key an app of Android is signed: `debug` for the key that each SDK makes for
 * itself, which it names `CN=Android Debug`, and `release` for any other.
 *
 * Nothing is verified here. Android and Play do that.
 */
import { X509Certificate } from 'node:crypto';
import { childrenOf, isContext, parseDer, toDer } from '../../../client/signing/der.ts';
import type { OpenFile } from '../open-file.ts';
import type { Said } from '../said.ts';
import type { Zip } from '../zip.ts';

const MAGIC = 'APK Sig Block 42';
const FOOTER_BYTES = 24;
const BLOCK_MAX_BYTES = 4 * 1024 * 1024;
/** Schemes 2, 3 and 3.1, which all begin alike. */
const SCHEMES: ReadonlySet<number> = new Set([0x7109871a, 0xf05368c0, 0x1b93ad61]);
/** The signature of jarsigner, the only one that an .aab has. */
const JAR_SIGNATURE = /^META-INF\/[^/]+\.(RSA|DSA|EC)$/;
const JAR_SIGNATURE_MAX_BYTES = 256 * 1024;
const DEBUG = /^CN=Android Debug$/m;

export function signingOfAndroid(file: OpenFile, zip: Zip): Said['signing'] {
  try {
    const certificate = certificateOfBlock(file, zip.directoryOffset) ?? certificateOfJar(zip);
    if (certificate === null) return 'unsigned';
    return DEBUG.test(new X509Certificate(certificate).subject) ? 'debug' : 'release';
  } catch {
    return null;
  }
}

/** The block lies right before the central directory: length, pairs of id and value, length, magic. */
function certificateOfBlock(file: OpenFile, directoryOffset: number): Buffer | null {
  if (directoryOffset < FOOTER_BYTES) return null;
  const footer = file.read(directoryOffset - FOOTER_BYTES, FOOTER_BYTES);
  const length = Number(footer.readBigUInt64LE(0));
  if (footer.toString('latin1', 8) !== MAGIC || length > BLOCK_MAX_BYTES) return null;
  const pairs = file.read(directoryOffset - length, length - FOOTER_BYTES);
  for (let at = 0; at + 12 <= pairs.length; ) {
    const pairBytes = Number(pairs.readBigUInt64LE(at));
    if (SCHEMES.has(pairs.readUInt32LE(at + 8))) return firstCertificate(pairs.subarray(at + 12, at + 8 + pairBytes));
    at += 8 + pairBytes;
  }
  return null;
}

/** Unpacks in this order: signers, first signer, signed data, certificates (after the digests), first one. */
function firstCertificate(value: Buffer): Buffer {
  const signed = sized(sized(sized(value)));
  return sized(sized(signed, 4 + signed.readUInt32LE(0)));
}

/** The content of a field that begins with its length. */
function sized(bytes: Buffer, at = 0): Buffer {
  const length = bytes.readUInt32LE(at);
  return bytes.subarray(at + 4, at + 4 + length);
}

function certificateOfJar(zip: Zip): Buffer | null {
  const name = [...zip.names()].find((one) => JAR_SIGNATURE.test(one));
  const content = name === undefined ? null : zip.read(name, JAR_SIGNATURE_MAX_BYTES);
  if (content === null) return null;
  const [, signed] = childrenOf(parseDer(content));
  const certificates = childrenOf(childrenOf(signed)[0]).find((node) => isContext(node, 0));
  return toDer(childrenOf(certificates)[0]!);
}
