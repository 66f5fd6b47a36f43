/**
 * Understands the manifest of an app of Android, in either of its two forms: that of an .apk (binary-xml.ts)
 * or that of an .aab (bundle-xml.ts).
 */
import { type Budget, ICON_FILE_MAX_BYTES } from '../budget.ts';
import { largestIcon } from '../icons.ts';
import { type Said, textIn } from '../said.ts';

/** The value of an attribute: itself, or the id of a resource. */
export type Value = { text: string } | { resource: number };

/** An element of the manifest. Only the first two levels are read. */
export interface Element {
  name: string;
  /** How many elements it lies in. */
  depth: number;
  /** By Android's id of the attribute. */
  byId: ReadonlyMap<number, Value>;
  /** By name, for those that have no id. */
  byName: ReadonlyMap<string, Value>;
}

export interface Resources {
  /** The text of a resource, for the usual language. Null if there is none. */
  text(id: number): string | null;
  /** The files of a resource, one for each kind of screen, by their names in the archive. */
  files(id: number): string[];
}

const VERSION_CODE = 0x0101021b;
const VERSION_NAME = 0x0101021c;
const MIN_SDK = 0x0101020c;
const LABEL = 0x01010001;
const ICON = 0x01010002;
const DEBUGGABLE = 0x0101000f;
const ICON_FILES_MAX = 8;

export interface AndroidFiles {
  elements: readonly Element[];
  resources: Resources;
  read(name: string, maxBytes: number): Buffer | null;
}

export function readManifest({ elements, resources, read }: AndroidFiles, budget: Budget): Omit<Said, 'signing'> {
  const manifest = elements.find(({ name, depth }) => name === 'manifest' && depth === 0);
  const application = elements.find(({ name, depth }) => name === 'application' && depth === 1);
  const sdk = elements.find(({ name, depth }) => name === 'uses-sdk' && depth === 1);
  const textOf = (value: Value | undefined): string | null =>
    value === undefined ? null : textIn('text' in value ? value.text : resources.text(value.resource));
  const icon = application?.byId.get(ICON);
  return {
    platform: 'android',
    id: textOf(manifest?.byName.get('package')),
    name: textOf(application?.byId.get(LABEL)),
    version: textOf(manifest?.byId.get(VERSION_NAME)),
    buildNumber: textOf(manifest?.byId.get(VERSION_CODE)),
    minimumSystem: textOf(sdk?.byId.get(MIN_SDK)),
    ...{ profileExpiresAt: null, devices: null, usesNonExemptEncryption: null },
    debuggable: application ? textOf(application.byId.get(DEBUGGABLE)) === 'true' : null,
    icon: iconOf(icon),
  };

  function iconOf(value: Value | undefined): Buffer | null {
    if (value === undefined) return null;
    const names = 'text' in value ? [value.text] : resources.files(value.resource);
    // The drawing of an adaptive icon is XML. The pictures beside it are for older systems.
    const pictures = names.filter((name) => !name.endsWith('.xml')).slice(0, ICON_FILES_MAX);
    return largestIcon(
      pictures.flatMap((name) => read(name, ICON_FILE_MAX_BYTES) ?? []),
      budget,
    );
  }
}
