/**
 * Answers a download as HTTP wants it: ranges, validators, and a file name that cannot break out of its
 * header.
 */
import { type Refusal, refusal } from '../refusals.ts';
import { openBlob, openBlobRow } from './blobs.ts';

/**
 * Answers 200, 206 or 304. Refused: `not_found`, `wrong_offset` for a range outside the file. The validator
 * is the digest of the content.
 */
export async function sendBlob(
  env: Env,
  request: Request,
  sha256: string,
  headers: Record<string, string>,
): Promise<Response | Refusal> {
  const blob = await openBlobRow(env, sha256);
  if (!blob) return notStored;
  const etag = `"${sha256}"`;
  const answer = new Headers({
    ...headers,
    ETag: etag,
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'private, no-cache',
    'X-Content-SHA256': sha256,
    'X-Content-Type-Options': 'nosniff',
  });
  if (matchesEtag(request.headers.get('If-None-Match'), etag))
    return new Response(null, { status: 304, headers: answer });

  const ifRange = request.headers.get('If-Range');
  const range = ifRange === null || ifRange === etag ? parseRange(request.headers.get('Range'), blob.size) : null;
  if (range === 'unsatisfiable') return refusal('wrong_offset', `Range: the file has ${blob.size} bytes`);
  const length = range?.length ?? blob.size;
  answer.set('Content-Length', String(length));
  if (range) answer.set('Content-Range', `bytes ${range.offset}-${range.offset + length - 1}/${blob.size}`);
  const init = { status: range ? 206 : 200, headers: answer };
  if (request.method === 'HEAD') return new Response(null, init);
  const object = await openBlob(env, sha256, range ?? undefined);
  if (!object) return notStored;
  return new Response(object.body.pipeThrough(new FixedLengthStream(length)), init);
}

const notStored = refusal('not_found', 'the file is no longer stored');

/**
 * The part that a `Range` header asks for. Null means the whole file: there is no header, it is malformed, or
 * it asks for several parts.
 */
export function parseRange(
  header: string | null,
  size: number,
): { offset: number; length: number } | 'unsatisfiable' | null {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return null;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return null;
  if (offset >= size) return 'unsatisfiable';
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return { offset, length: end - offset + 1 };
}

/** Whether an `If-None-Match` names this validator. */
const matchesEtag = (header: string | null, etag: string): boolean =>
  (header ?? '').split(',').some((tag) => [etag, '*'].includes(tag.trim().replace(/^W\//, '')));

/** The header of a download, because a file of a build must not run as a page in the controller's origin. */
export function attachment(path: string): string {
  const name = path.split('/').at(-1) ?? '';
  const plain = name.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${exact}`;
}

const CONTENT_TYPES: Record<string, string> = {
  apk: 'application/vnd.android.package-archive',
  gz: 'application/gzip',
  ipa: 'application/octet-stream',
  json: 'application/json',
  log: 'text/plain; charset=utf-8',
  plist: 'application/xml',
  png: 'image/png',
  tgz: 'application/gzip',
  txt: 'text/plain; charset=utf-8',
  xml: 'application/xml',
  zip: 'application/zip',
};

export const contentType = (path: string): string =>
  CONTENT_TYPES[/\.([a-z0-9]{1,8})$/i.exec(path)?.[1]?.toLowerCase() ?? ''] ?? 'application/octet-stream';
