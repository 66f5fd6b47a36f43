/** Reads an .apk or an .aab: zip archives that differ in the form of their manifest and resources. */

import { type Budget, RESOURCES_MAX_BYTES, TEXT_MAX_BYTES, Unreadable } from '../budget.ts';
import type { OpenFile } from '../open-file.ts';
import type { Said } from '../said.ts';
import { openZip } from '../zip.ts';
import { readBinaryXml } from './binary-xml.ts';
import { openBundleResources, readBundleXml } from './bundle-xml.ts';
import { type AndroidFiles, readManifest } from './manifest.ts';
import { openResourceTable } from './resource-table.ts';
import { signingOfAndroid } from './signing.ts';

const FORMS = {
  apk: {
    manifest: 'AndroidManifest.xml',
    resources: 'resources.arsc',
    root: '',
    readXml: readBinaryXml,
    openResources: openResourceTable,
  },
  aab: {
    manifest: 'base/manifest/AndroidManifest.xml',
    resources: 'base/resources.pb',
    root: 'base/',
    readXml: readBundleXml,
    openResources: openBundleResources,
  },
} as const;

export function readAndroidApp(kind: 'apk' | 'aab', file: OpenFile, budget: Budget): Said {
  const form = FORMS[kind];
  const zip = openZip(file, budget);
  const manifest = zip.read(form.manifest, TEXT_MAX_BYTES);
  if (manifest === null) throw new Unreadable('its manifest is missing, or too large');
  const files: AndroidFiles = {
    elements: form.readXml(manifest),
    resources: resourcesIn(zip.read(form.resources, RESOURCES_MAX_BYTES), form.openResources),
    read: (name, maxBytes) => zip.read(form.root + name, maxBytes),
  };
  return { ...readManifest(files, budget), signing: signingOfAndroid(file, zip) };
}

/** An app whose resources are missing or damaged still has its package and its version. */
function resourcesIn(content: Buffer | null, open: (bytes: Buffer) => AndroidFiles['resources']) {
  try {
    if (content === null) return NO_RESOURCES;
    const { text, files } = open(content);
    return { text: orElse(text, null), files: orElse(files, []) };
  } catch {
    return NO_RESOURCES;
  }
}

const NO_RESOURCES: AndroidFiles['resources'] = { text: () => null, files: () => [] };

const orElse =
  <T>(ask: (id: number) => T, otherwise: T) =>
  (id: number): T => {
    try {
      return ask(id);
    } catch {
      return otherwise;
    }
  };
