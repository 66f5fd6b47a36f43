/**
 * Makes the summary that a run of GitHub Actions shows: how each build ended, its timeline, and its
 * artifacts. Pure.
 *
 * GitHub reads it as Markdown with HTML in it. Each part is one line of HTML that begins with a tag of a
 * block and has no empty line in it, so nothing inside is read as Markdown.
 *
 * Invariant: the only links, pictures and tags in it are its own, also if a build prints some. It has at most
 * SUMMARY_MAX_BYTES.
 */
import type { BuildDetail, SubmissionFailure } from '#contract';
import { printable } from '../../client/printable.ts';
import { duration, PLATFORM_NAMES, size } from '../words.ts';
import { storeFailures } from './annotations.ts';

/** GitHub takes 1 MiB from a step, and shows no part of a longer summary. */
export const SUMMARY_MAX_BYTES = 512 * 1024;
const EVENTS_SHOWN = 100;
const FILES_SHOWN = 50;
const VALUE_MAX = 2_000;

export interface SummarisedBuild {
  build: BuildDetail;
  /** The address at which the controller answers with the build. */
  address: string;
  /** The page from which a device installs the app, and its QR code as lines of text. */
  install: { url: string; qrLines: readonly string[] } | null;
}

export function stepSummary(builds: readonly SummarisedBuild[]): string {
  const parts = builds.flatMap(partsOf);
  let text = '';
  for (const part of parts) {
    if (Buffer.byteLength(text) + Buffer.byteLength(part) > SUMMARY_MAX_BYTES - MORE.length) return text + MORE;
    text += part;
  }
  return text;
}

const block = (html: string): string => `${html}\n\n`;
const MORE = block('<p>There is more than a summary may have.</p>');

function partsOf({ build, address, install }: SummarisedBuild): string[] {
  return [
    block(`<h3>${escaped(headline(build))}</h3>`),
    block(`<p>${aboutBuild(build, address)}</p>`),
    ...verdictOf(build),
    ...storeFailures(build).map(storePart),
    ...(install === null ? [] : [installPart(install)]),
    ...artifactsPart(build),
    ...timelinePart(build),
  ];
}

const MARKS = { succeeded: '✅', failed: '❌', cancelled: '⚪' } as const;

function headline({ platform, profile, status, verdict, supersededBy }: BuildDetail): string {
  const mark = MARKS[status as keyof typeof MARKS] ?? '⏳';
  const ended = supersededBy !== null ? 'superseded' : status === 'failed' ? (verdict?.title ?? status) : status;
  return `${mark} ${PLATFORM_NAMES[platform]}${profile === null ? '' : `, ${profile}`}: ${ended}`;
}

function aboutBuild(build: BuildDetail, address: string): string {
  const { id, project, origin, app, buildNumber, startedAt, endedAt, trusted } = build;
  const number = buildNumber === null ? '' : ` (${buildNumber})`;
  return [
    `Build ${code(id)} at ${code(address)}`,
    project !== null && `project ${code(project)}`,
    app !== null && `app ${code(`${app.id} ${app.version ?? ''}${number}`.trim())}`,
    origin?.commit !== undefined && `commit ${code(origin.commit.slice(0, 10))}`,
    !trusted && 'not trusted',
    startedAt !== null && endedAt !== null && escaped(`took ${duration(Date.parse(endedAt) - Date.parse(startedAt))}`),
  ]
    .filter((part) => part !== false)
    .join(' · ');
}

function verdictOf({ verdict, cause, supersededBy }: BuildDetail): string[] {
  if (supersededBy !== null) return [block(`<p>Build ${code(supersededBy)} replaces it.</p>`)];
  if (verdict === null) return [];
  const { explained, message, explanation, advice, tellingLines } = verdict;
  const told = explained ? [explained.sentence, explained.advice] : [message ?? '', explanation, advice];
  const logged = explained ? [explained.line] : tellingLines;
  return [
    block(`<p>${told.filter(Boolean).map(escaped).join('<br>')}</p>`),
    ...(cause === null ? [] : [block(`<p>${escaped(`${cause.title}. ${cause.explanation} ${cause.advice}`)}</p>`)]),
    ...(logged.length === 0 ? [] : [block(preformatted(logged))]),
  ];
}

function storePart({ title, message, explanation, advice, storeWords }: SubmissionFailure): string {
  const said = [title, message ?? '', explanation, advice].filter(Boolean).map(escaped).join('<br>');
  return block(`<p>${said}${storeWords === null ? '' : `<br>The store says: ${code(storeWords)}`}</p>`);
}

function installPart({ url, qrLines }: { url: string; qrLines: readonly string[] }): string {
  const link = `<a href="${escaped(url)}">Install on a device</a>`;
  return block(`<details open><summary>${link}</summary>${preformatted(qrLines)}</details>`);
}

function artifactsPart({ artifacts }: BuildDetail): string[] {
  if (artifacts.length === 0) return [];
  const rows = artifacts.slice(0, FILES_SHOWN).map(({ name, size: bytes, sha256, app }) => {
    const about = app === null ? '' : [app.name, app.version, app.buildNumber && `(${app.buildNumber})`];
    return [
      code(name),
      escaped(size(bytes)),
      about && code(about.filter(Boolean).join(' ')),
      code(sha256.slice(0, 16)),
    ];
  });
  const more = artifacts.length - rows.length;
  return [block(table(['Artifact', 'Size', 'App', 'SHA-256'], rows) + (more > 0 ? `<p>and ${more} more</p>` : ''))];
}

function timelinePart({ events, createdAt }: BuildDetail): string[] {
  const rows = events.slice(-EVENTS_SHOWN).map(({ at, type, attempt }) => {
    const after = duration(Date.parse(at) - Date.parse(createdAt));
    return [escaped(at.slice(11, 19)), escaped(after), code(type), attempt === 0 ? '' : String(attempt)];
  });
  if (rows.length === 0) return [];
  const heads = ['Time, UTC', 'After', 'Event', 'Attempt'];
  return [block(`<details><summary>Timeline</summary>${table(heads, rows)}</details>`)];
}

/** Takes cells in HTML. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;
  return `<table>${row(heads, 'th')}${rows.map((cells) => row(cells, 'td')).join('')}</table>`;
}

/** In `code`, GitHub does not turn `@name` and `#12` into links. */
const code = (text: string): string => `<code>${escaped(text)}</code>`;

const preformatted = (lines: readonly string[]): string => `<pre>${lines.map(escaped).join('&#10;')}</pre>`;

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escaped = (text: string): string =>
  printable(text)
    .slice(0, VALUE_MAX)
    .replace(/[&<>"']/g, (character) => ENTITIES[character]!);
