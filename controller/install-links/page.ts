/**
 * Writes the install page of a link, which needs no script, and the page for a link that does not work. Pure.
 *
 * Invariant: `html` escapes every value, because an app can claim anything about itself.
 */
import { html, raw } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';
import { renderSVG } from 'uqr';
import type { AppSigning } from '#contract';
import { iso } from '../times.ts';
import { fileOf, type OpenedLink } from './opened-link.ts';
import { STYLE } from './style.ts';

type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** @param nonce lets the page's own style through its policy */
export function installPage(link: OpenedLink, now: number, nonce: string): Html {
  const { app, token, way } = link;
  const name = app.name ?? app.id ?? link.fileName;
  const { profileExpiresAt: endsAt } = app;
  return page(
    nonce,
    `${name} ${app.version ?? ''}`.trim(),
    html`<header>
${app.icon === null ? '' : html`<img src="/i/${token}/icon" alt="" width="96" height="96">`}
<h1><bdi>${name}</bdi></h1>
<p>${versionOf(link)}</p>
</header>
${endsAt !== null && Date.parse(endsAt) <= now ? expired(endsAt) : ''}
${WAYS[way](link)}
<h2>About this build</h2>
<dl>${factsOf(link).map(([term, fact]) => html`<div><dt>${term}</dt><dd>${fact}</dd></div>`)}</dl>
${way === 'simulator' ? '' : onAPhone(link)}`,
  );
}

/** The same page for a link that never existed, one that was revoked, and one that has ended. */
export const noPage = (nonce: string): Html =>
  page(
    nonce,
    'This link does not work',
    html`<h1>This link does not work</h1>
<p>It may have ended, or somebody has revoked it. Check that the address is complete, or ask whoever sent it
for a new one.</p>`,
  );

const page = (nonce: string, title: string, body: Html): Html => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style nonce="${nonce}">${raw(STYLE)}</style>
</head>
<body><main>
${body}
</main></body>
</html>
`;

const expired = (at: string): Html => html`<p class="warning"><strong>Its provisioning profile has expired
(${day(at)}).</strong> iOS neither installs the app nor opens it. Ask for a new build.</p>`;

function versionOf({ app: { version, buildNumber } }: OpenedLink): Html {
  if (version === null) return buildNumber === null ? html`` : html`Build <bdi>${buildNumber}</bdi>`;
  return html`Version <bdi>${version}</bdi>${buildNumber === null ? '' : html` (<bdi>${buildNumber}</bdi>)`}`;
}

// ── Instructions, by the way in which the app is installed ─────────────────────────────────────────────────

const WAYS: Record<OpenedLink['way'], (link: OpenedLink) => Html> = {
  ios: (link) => {
    const manifest = `itms-services://?action=download-manifest&url=${encodeURIComponent(`${link.url}/manifest.plist`)}`;
    return html`<p><a class="button" href="${manifest}">Install on this iPhone or iPad</a></p>
<h2>If it does not install</h2>
<ul>
<li>Open this page in Safari, on the device itself.</li>
${needsOf(link).map((need) => html`<li>${need}</li>`)}
</ul>`;
  },
  android: (link) => html`<p>${download(link, 'Download the APK')}</p>
<h2>If it does not install</h2>
<ul>
<li>Open this page on the phone, and open the file when it has arrived. Android asks once whether this browser may
install apps.</li>
<li>An app of the same name that is signed with another key must be removed first. Its data are lost then.</li>
</ul>`,
  simulator: (link) => html`<p>${download(link, 'Download the app for the simulator')}</p>
<h2>Install it on a Mac</h2>
<p>Start a simulator. Then run, in the folder of the download:</p>
<pre><code>tar -xzf ${shellWord(link.fileName)}
xcrun simctl install booted ${shellWord(link.fileName.replace(/\.tar\.gz$/, ''))}</code></pre>`,
};

const download = (link: OpenedLink, words: string): Html =>
  html`<a class="button" href="/i/${link.token}/${fileOf(link)}" download>${words}</a>`;

/** Quotes a text for a shell, because somebody may copy the command. */
const shellWord = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** The conditions under which iOS installs and opens the app. */
function needsOf({ url, app: { signing, devices } }: OpenedLink): string[] {
  const isOfDevices = signing === 'ad-hoc' || signing === 'development';
  return [
    url.startsWith('https:')
      ? 'iOS installs from https alone, with a certificate that the device trusts.'
      : 'iOS installs from https alone, and this page has an http address, so the button does nothing.',
    ...(isOfDevices
      ? [
          `The app's provisioning profile names ${devices === null ? 'its devices' : counted(devices, 'device')}. If yours ` +
            'is not among them, iOS says that the app cannot be installed: have it registered, then ask for a new build.',
          'Since iOS 16 such an app opens only with Developer Mode: Settings › Privacy & Security › Developer Mode. ' +
            'The setting is there once the app is installed.',
        ]
      : ['Before you open it, trust its developer: Settings › General › VPN & Device Management.']),
  ];
}

const onAPhone = ({ url }: OpenedLink): Html => html`<h2>On a phone</h2>
<p>Scan this to open the page there.</p>
<figure class="qr" role="img" aria-label="QR code with the address of this page">${raw(renderSVG(url, { border: 3 }))}</figure>`;

// ── Facts about the build ──────────────────────────────────────────────────────────────────────────────────

const SIGNED_FOR: Record<AppSigning, string> = {
  'app-store': 'the App Store',
  'ad-hoc': 'registered devices (ad hoc)',
  development: 'registered devices (development)',
  enterprise: 'the devices of an organisation (enterprise)',
  simulator: 'the simulator',
  debug: 'with a debug key',
  release: 'with a release key',
  unsigned: 'not signed',
};

function factsOf({
  app,
  size,
  fileName,
  commit,
  branch,
  expiresAt,
}: OpenedLink): [term: string, fact: Html | string][] {
  const system = app.platform === 'ios' ? 'iOS' : 'Android API level';
  const facts: [string, Html | string | null][] = [
    [app.platform === 'ios' ? 'Bundle id' : 'Package', app.id],
    ['File', html`<bdi>${fileName}</bdi>, ${sizeOf(size)}`],
    ['Needs', app.minimumSystem === null ? null : html`${system} <bdi>${app.minimumSystem}</bdi> or newer`],
    ['Signed for', app.signing && SIGNED_FOR[app.signing]],
    ['Profile expires', app.profileExpiresAt && day(app.profileExpiresAt)],
    ['Devices in the profile', app.devices === null ? null : String(app.devices)],
    ['Branch', branch === null ? null : html`<bdi>${branch}</bdi>`],
    ['Commit', commit && html`<code>${commit.slice(0, 12)}</code>`],
    ['This page works until', moment(expiresAt)],
  ];
  return facts.flatMap(([term, fact]) => (fact === null ? [] : [[term, fact] as [string, Html | string]]));
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

const MEGABYTE = 1_000_000;
const sizeOf = (bytes: number): string =>
  bytes < MEGABYTE ? `${Math.ceil(bytes / 1_000)} kB` : `${(bytes / MEGABYTE).toFixed(1)} MB`;

const day = (at: string): Html => html`<time datetime="${at}">${at.slice(0, 10)}</time>`;

const moment = (at: number): Html =>
  html`<time datetime="${iso(at)}">${iso(at).slice(0, 16).replace('T', ' ')} UTC</time>`;
