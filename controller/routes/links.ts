/** Answers about links to install pages: makes, lists and revokes them. */
import { z } from 'zod';
import { Id, type LinkList, LinkRequest, PAGE_MAX } from '#contract';
import { CursorParam } from '../builds/list.ts';
import { createLink, listLinks, listLinksOf, revokeLink } from '../install-links/links.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { valid, validIfAny, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

const ListQuery = z.strictObject({
  cursor: CursorParam,
  limit: wholeNumber(1, PAGE_MAX).default(20),
});

export function linkRoutes(on: On): void {
  on('POST /api/builds/:id/links')(validIfAny(LinkRequest), async (c) => {
    const made = await createLink(c.env, c.var.build, c.req.valid('json'), c.var.key, Date.now());
    return made.ok ? c.json(made.created, 201) : answerRefusal(c, made);
  });

  on('GET /api/builds/:id/links')(async (c) =>
    c.json({ links: await listLinksOf(c.env, c.var.build.id), nextCursor: null } satisfies LinkList),
  );

  on('GET /api/projects/:id/links')(valid('query', ListQuery), async (c) =>
    c.json((await listLinks(c.env, c.var.key, c.var.project.id, c.req.valid('query'))) satisfies LinkList),
  );

  on('DELETE /api/links/:id')(valid('param', z.object({ id: Id })), async (c) => {
    const { id } = c.var.link;
    const link = await revokeLink(c.env, id, Date.now());
    return link ? c.json(link) : answerRefusal(c, refusal('not_found', `there is no link ${id}`));
  });
}
