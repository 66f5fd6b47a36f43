/**
 * Reads a provisioning profile (.mobileprovision): the property list inside Apple's signed message.
 *
 * It does not check Apple's signature, because macOS does that when it reads the profile in the build.
 *
 * Invariant: readProfile refuses a hostile file within about a second, and never throws.
 */
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import { sha1Of } from './certificate.ts';
import { childrenOf, octetsOf, oidOf, parseDer } from './der.ts';
import { type ListValue, parsePropertyList } from './property-list.ts';

/** A profile with a hundred certificates and a thousand devices has about 300 KB. */
export const PROFILE_MAX_BYTES = 1024 * 1024;

export type ProfileKind = 'development' | 'ad-hoc' | 'app-store' | 'enterprise';

export interface ProvisioningProfile {
  uuid: string;
  name: string;
  team: string;
  expires: Date;
  /** Without the team's prefix: `com.example.app`, or with a `*` at the end. */
  bundleId: string;
  /** SHA-1 of each certificate, 40 digits in capitals. */
  certificates: ReadonlySet<string>;
  kind: ProfileKind;
  /** The number of devices that it names. Null if it is for a store or for all devices. */
  devices: number | null;
}

const SIGNED_DATA = '1.2.840.113549.1.7.2';
export function readProfile(path: string, content: Buffer): Found<ProvisioningProfile> {
  const name = printable(path);
  if (content.length > PROFILE_MAX_BYTES)
    return problem(
      `\`${name}\` has ${content.length} bytes, which no provisioning profile has: submit the profile itself.`,
    );
  try {
    return found(profileOf(listIn(content)));
  } catch {
    return problem(
      `\`${name}\` is not a provisioning profile, or it is damaged: download it anew from developer.apple.com and submit that file unchanged.`,
    );
  }
}

function listIn(content: Buffer): Map<string, ListValue> {
  const [type, signed] = childrenOf(parseDer(content));
  if (oidOf(type) !== SIGNED_DATA) throw new Error('no signed message');
  const [, , message] = childrenOf(childrenOf(signed)[0]);
  const [, octets] = childrenOf(message);
  return parsePropertyList(octetsOf(childrenOf(octets)[0]).toString('utf8'));
}

function profileOf(list: Map<string, ListValue>): ProvisioningProfile {
  const entitlements = list.get('Entitlements');
  const expires = list.get('ExpirationDate');
  if (!(entitlements instanceof Map)) throw new Error('no entitlements');
  if (!(expires instanceof Date) || Number.isNaN(expires.getTime())) throw new Error('no date');
  return {
    uuid: textOf(list.get('UUID')),
    name: printable(textOf(list.get('Name'))),
    team: textOf(listOf(list.get('TeamIdentifier'))[0]),
    expires,
    bundleId: textOf(entitlements.get('application-identifier')).replace(/^[^.]*\./, ''),
    certificates: new Set(listOf(list.get('DeveloperCertificates')).map((der) => sha1Of(bytesOf(der)))),
    kind: kindOf(list, entitlements),
    devices: devicesOf(list)?.length ?? null,
  };
}

function textOf(value: ListValue | undefined): string {
  if (typeof value !== 'string') throw new Error('no text');
  return value;
}

function listOf(value: ListValue | undefined): ListValue[] {
  if (!Array.isArray(value)) throw new Error('no list');
  return value;
}

function bytesOf(value: ListValue): Buffer {
  if (!Buffer.isBuffer(value)) throw new Error('no bytes');
  return value;
}

function devicesOf(list: Map<string, ListValue>): ListValue[] | null {
  const devices = list.get('ProvisionedDevices');
  return Array.isArray(devices) ? devices : null;
}

/** The engine and eas-cli distinguish the kinds in the same way. */
function kindOf(list: Map<string, ListValue>, entitlements: Map<string, ListValue>): ProfileKind {
  if (list.get('ProvisionsAllDevices')) return 'enterprise';
  if (devicesOf(list) === null) return 'app-store';
  return entitlements.get('get-task-allow') ? 'development' : 'ad-hoc';
}

/** A `*` matches any text that is not empty, as in Apple's own rule. */
export function fits({ bundleId: pattern }: ProvisioningProfile, bundleId: string): boolean {
  if (!pattern.endsWith('*')) return pattern === bundleId;
  const start = pattern.slice(0, -1);
  return bundleId.startsWith(start) && bundleId.length > start.length;
}
