/**
 * Reads what an app of iOS says of itself, from the files of its folder: Info.plist, the provisioning profile
 * and the icon.
 *
 * Its kind of signing is that of the profile in it. A profile does not prove that the code is signed with it.
 * macOS and the stores check that. An app without the list of sealed files is not signed.
 */
import { type ListValue, parsePropertyList } from '../../../client/signing/property-list.ts';
import { readProfile } from '../../../client/signing/provisioning-profile.ts';
import { type Budget, ICON_FILE_MAX_BYTES, TEXT_MAX_BYTES, Unreadable } from '../budget.ts';
import { largestIcon } from '../icons.ts';
import { type Said, textIn } from '../said.ts';
import { isBinaryPlist, parseBinaryPlist } from './binary-plist.ts';

/** The files of an app by their path in its folder. */
export interface AppFolder {
  paths(): Iterable<string>;
  has(path: string): boolean;
  /** Null if there is no such file, or if it is larger. */
  read(path: string, maxBytes: number): Buffer | null;
}

/** Null for an app of another system, such as macOS or tvOS. */
export function readIosApp(folder: AppFolder, budget: Budget): Said | null {
  const content = folder.read('Info.plist', TEXT_MAX_BYTES);
  if (content === null) throw new Unreadable('its Info.plist is missing, or too large');
  const info = isBinaryPlist(content) ? parseBinaryPlist(content) : parsePropertyList(content.toString('utf8'));
  const systems = textsIn(info.get('CFBundleSupportedPlatforms'));
  if (systems.length > 0 && !systems.some((system) => system.startsWith('iPhone'))) return null;
  const encryption = info.get('ITSAppUsesNonExemptEncryption');
  return {
    platform: 'ios',
    id: textIn(info.get('CFBundleIdentifier')),
    name: textIn(info.get('CFBundleDisplayName')) ?? textIn(info.get('CFBundleName')),
    version: textIn(info.get('CFBundleShortVersionString')),
    buildNumber: textIn(info.get('CFBundleVersion')),
    minimumSystem: textIn(info.get('MinimumOSVersion')),
    ...signingOf(folder, systems),
    usesNonExemptEncryption: typeof encryption === 'boolean' ? encryption : null,
    debuggable: null,
    icon: iconOf(folder, info, budget),
  };
}

function signingOf(folder: AppFolder, systems: string[]): Pick<Said, 'signing' | 'profileExpiresAt' | 'devices'> {
  const none = { profileExpiresAt: null, devices: null };
  if (systems.includes('iPhoneSimulator')) return { signing: 'simulator', ...none };
  if (!folder.has('_CodeSignature/CodeResources')) return { signing: 'unsigned', ...none };
  const content = folder.read('embedded.mobileprovision', TEXT_MAX_BYTES);
  const profile = content && readProfile('embedded.mobileprovision', content);
  if (!profile?.ok) return { signing: null, ...none };
  const { kind, expires, devices } = profile.value;
  return { signing: kind, profileExpiresAt: expires.toISOString(), devices };
}

const textsIn = (value: ListValue | undefined): string[] =>
  Array.isArray(value) ? value.filter((member) => typeof member === 'string') : [];

/** Null also if all icons are in Assets.car, Apple's own archive, which this does not read. */
function iconOf(folder: AppFolder, info: Map<string, ListValue>, budget: Budget): Buffer | null {
  const names = ['CFBundleIcons', 'CFBundleIcons~ipad'].flatMap((key) => {
    const primary = valueIn(info.get(key), 'CFBundlePrimaryIcon');
    return textsIn(valueIn(primary, 'CFBundleIconFiles'));
  });
  names.push(...textsIn(info.get('CFBundleIconFiles')));
  const only = textIn(info.get('CFBundleIconFile'));
  if (only !== null) names.push(only);
  const wanted = new Set(names.map(baseOf));
  const files: Buffer[] = [];
  for (const path of folder.paths()) {
    if (!path.endsWith('.png') || !wanted.has(baseOf(path))) continue;
    const file = folder.read(path, ICON_FILE_MAX_BYTES);
    if (file) files.push(file);
    if (files.length >= ICON_FILES_MAX) break;
  }
  return largestIcon(files, budget);
}

const ICON_FILES_MAX = 8;

/** `AppIcon60x60` for `AppIcon60x60@2x~ipad.png`. */
const baseOf = (name: string): string => name.replace(/(@\dx)?(~[a-z]{1,8})?(\.png)?$/, '');

const valueIn = (value: ListValue | undefined, key: string): ListValue | undefined =>
  value instanceof Map ? value.get(key) : undefined;
