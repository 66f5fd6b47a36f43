/**
 * Answers people who have a link: the install page, the manifest for iOS, the icon and the file.
 *
 * Invariant: the token in such a path opens the app, so no line of a log and no error shows it.
 */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { randomText } from '../bytes.ts';
import { attachment, contentType, sendBlob } from '../files/download.ts';
import { manifestOf } from '../install-links/manifest.ts';
import { openLink } from '../install-links/open-link.ts';
import type { OpenedLink } from '../install-links/opened-link.ts';
import { installPage, noPage } from '../install-links/page.ts';
import { answerRefusal } from '../refusals.ts';
import type { On } from './register.ts';

const NONCE_BYTES = 16;

export function installPageRoutes(on: On): void {
  on('GET /i/:token')((c) => {
    const { token } = c.req.param();
    return opened(c, token, (link) => answerPage(c, (nonce) => installPage(link, Date.now(), nonce)));
  });

  on('GET /i/:token/manifest.plist')((c) =>
    opened(c, c.req.param('token'), (link) =>
      link.way === 'ios'
        ? c.body(manifestOf(link), 200, { 'Content-Type': 'application/xml; charset=utf-8' })
        : missing(c),
    ),
  );

  on('GET /i/:token/icon')((c) =>
    opened(c, c.req.param('token'), ({ app: { icon } }) =>
      icon === null ? missing(c) : file(c, icon, { 'Content-Type': 'image/png' }),
    ),
  );

  on('GET /i/:token/file/:name')((c) =>
    opened(c, c.req.param('token'), ({ fileName, sha256 }) =>
      c.req.param('name') === fileName
        ? file(c, sha256, {
            'Content-Type': contentType(fileName),
            'Content-Disposition': attachment(fileName),
          })
        : missing(c),
    ),
  );
}

type Bound = { Bindings: Env };
type Answer = Response | Promise<Response>;

async function opened<E extends Bound>(c: Context<E>, token: string, answer: (link: OpenedLink) => Answer) {
  const link = await openLink(c.env, token, Date.now());
  return link ? answer(link) : missing(c);
}

async function file<E extends Bound>(c: Context<E>, sha256: string, headers: Record<string, string>) {
  const sent = await sendBlob(c.env, c.req.raw, sha256, headers);
  if (sent instanceof Response) return sent;
  return sent.code === 'not_found' ? missing(c) : answerRefusal(c, sent);
}

const missing = <E extends Bound>(c: Context<E>): Answer => {
  c.status(404);
  return answerPage(c, noPage);
};

/** The page has no script, no form and no frame, and loads its own icon alone. */
function answerPage<E extends Bound>(c: Context<E>, write: (nonce: string) => ReturnType<typeof noPage>): Answer {
  const nonce = randomText(NONCE_BYTES);
  c.header(
    'Content-Security-Policy',
    `default-src 'none'; img-src 'self'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; ` +
      "frame-ancestors 'none'",
  );
  return c.html(write(nonce));
}

/** Keeps all answers below `/i/` out of caches, search engines and the `Referer` of other pages. */
export const unlisted = createMiddleware(async (c, next) => {
  await next();
  c.header('Cache-Control', 'no-store');
  c.header('X-Robots-Tag', 'noindex, nofollow, noarchive');
  c.header('Referrer-Policy', 'no-referrer');
});

/** The path as a log or an error may show it. */
export const withoutToken = (path: string): string => path.replace(/^(\/+i\/+)[^/]+/i, '$1…');
