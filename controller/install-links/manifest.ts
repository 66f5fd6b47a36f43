/** Writes the manifest from which iOS installs an app: a property list in XML. Pure. */
import { fileOf, type OpenedLink } from './opened-link.ts';

export function manifestOf(link: OpenedLink): string {
  const { app, url } = link;
  const asset = (kind: string, path: string) => ({ kind, url: `${url}/${path}` });
  const icons = app.icon === null ? [] : [asset('display-image', 'icon'), asset('full-size-image', 'icon')];
  return propertyList({
    items: [
      {
        assets: [asset('software-package', fileOf(link)), ...icons],
        metadata: {
          'bundle-identifier': app.id ?? '',
          'bundle-version': app.version ?? app.buildNumber ?? '1',
          kind: 'software',
          'platform-identifier': 'com.apple.platform.iphoneos',
          title: app.name ?? app.id ?? '',
        },
      },
    ],
  });
}

type Value = string | readonly Value[] | { readonly [key: string]: Value };

const propertyList = (value: Value): string =>
  `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">${written(value)}</plist>
`;

function written(value: Value): string {
  if (typeof value === 'string') return `<string>${escaped(value)}</string>`;
  if (isList(value)) return `<array>${value.map(written).join('')}</array>`;
  const entries = Object.entries(value).map(([key, one]) => `<key>${escaped(key)}</key>${written(one)}`);
  return `<dict>${entries.join('')}</dict>`;
}

const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** Escapes a text for XML, and drops the characters that XML 1.0 does not allow even escaped. */
const escaped = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
