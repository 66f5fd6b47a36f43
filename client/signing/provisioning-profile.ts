/**
 * Reads a provisioning profile (.mobileprovision): the property list inside Apple's signed message.
 *
 * Apple's signature is not checked here. macOS checks it when it reads the profile in the build.
 *
 * Invariant: a hostile file is refused in less than about a second, and never throws.
 */
import { parse } from 'plist';
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import { sha1Of } from './certificate.ts';
import { childrenOf, octetsOf, oidOf, parseDer } from './der.ts';

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
}

const SIGNED_DATA = '1.2.840.113549.1.7.2';
const OPENING = '<plist version="1.0">';
const CLOSING = '</plist>';

/** Anything but the elements and characters of a property list: attributes, comments, entities of its own. */
const FOREIGN =
  /<(?!\/?(?:dict|array|key|string|data|date|integer|real)>|(?:dict|array|string|data|true|false) ?\/>)|&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[\da-fA-F]{1,6});)/;

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

function listIn(content: Buffer): Record<string, unknown> {
  const [type, signed] = childrenOf(parseDer(content));
  if (oidOf(type) !== SIGNED_DATA) throw new Error('no signed message');
  const [, , message] = childrenOf(childrenOf(signed)[0]);
  const [, octets] = childrenOf(message);
  const text = octetsOf(childrenOf(octets)[0]).toString('utf8');
  const from = text.indexOf(OPENING);
  const to = text.lastIndexOf(CLOSING);
  if (from < 0 || to < from) throw new Error('no property list');
  const body = text.slice(from + OPENING.length, to);
  if (FOREIGN.test(body)) throw new Error('not the form of a property list');
  return parse(`${OPENING}${body}${CLOSING}`) as Record<string, unknown>;
}

function profileOf(list: Record<string, unknown>): ProvisioningProfile {
  const { UUID, Name, TeamIdentifier, ExpirationDate, DeveloperCertificates, Entitlements } = list;
  const entitlements = Entitlements as Record<string, unknown>;
  const identifier = text(entitlements['application-identifier']);
  if (!(ExpirationDate instanceof Date) || Number.isNaN(ExpirationDate.getTime())) throw new Error('no date');
  return {
    uuid: text(UUID),
    name: printable(text(Name)),
    team: text((TeamIdentifier as unknown[])[0]),
    expires: ExpirationDate,
    bundleId: identifier.replace(/^[^.]*\./, ''),
    certificates: new Set((DeveloperCertificates as Uint8Array[]).map(sha1Of)),
    kind: kindOf(list, entitlements),
  };
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Error('no text');
  return value;
}

/** As the engine and eas-cli tell them apart. */
function kindOf(list: Record<string, unknown>, entitlements: Record<string, unknown>): ProfileKind {
  if (list.ProvisionsAllDevices) return 'enterprise';
  if (!Array.isArray(list.ProvisionedDevices)) return 'app-store';
  return entitlements['get-task-allow'] ? 'development' : 'ad-hoc';
}

/** A `*` stands for any text that is not empty, as Apple's own rule has it. */
export function fits({ bundleId: pattern }: ProvisioningProfile, bundleId: string): boolean {
  if (!pattern.endsWith('*')) return pattern === bundleId;
  const start = pattern.slice(0, -1);
  return bundleId.startsWith(start) && bundleId.length > start.length;
}
