/**
 * Answers about keys: admins make, list and revoke them, and a key sees and rotates itself. It also answers
 * with the audit.
 */

import { z } from 'zod';
import { DAY_MS, KeyRequest, type KeyRevoked, type Me } from '#contract';
import { AUDIT_LIST_MAX, listAudit } from '../access/audit.ts';
import { makeRequestedKey } from '../access/key-request.ts';
import { revokeKey } from '../access/key-revocation.ts';
import { ROTATION_OVERLAP_MS, rotateKey } from '../access/key-rotation.ts';
import { listKeys } from '../access/keys.ts';
import { endFollowersOf } from '../build-log/revoked-followers.ts';
import { cancelBuildsOf } from '../builds/end-many.ts';

import { keepLinksOf, revokeLinksOf } from '../install-links/links.ts';
import { answerRefusal } from '../refusals.ts';
import { cancelSubmissionsOf } from '../submissions/many.ts';
import { isoOrNull } from '../times.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { IdParam, valid, wholeNumber } from '../validate.ts';
import { endAttemptsOf } from '../workers/registry.ts';
import type { On } from './register.ts';

const OVERLAP_MAX_MS = 30 * DAY_MS;
/** The old key works for at least `overlapMs` more. 0 ends it now. */
const RotateQuery = z.strictObject({ overlapMs: wholeNumber(0, OVERLAP_MAX_MS).optional() });

/** With `keep=1` the builds, submissions and links of the key continue. */
const RevokeQuery = z.strictObject({ keep: z.enum(['0', '1']).default('0') });
const ENDED_SHOWN_MAX = 1_000;

const AuditQuery = z.strictObject({
  cursor: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
  limit: wholeNumber(1, AUDIT_LIST_MAX).default(50),
});

export function keyRoutes(on: On): void {
  on('GET /api/me')((c) => {
    const { id, scope, name, workerId, rights, createdAt, expiresAt } = c.var.key;
    return c.json({
      scope,
      name,
      workerId,
      keyId: createdAt === null ? null : id,
      createdAt: isoOrNull(createdAt),
      expiresAt: isoOrNull(expiresAt),
      pools: rights.pools === '*' ? null : rights.pools,
      rights,
    } satisfies Me);
  });

  on('GET /api/audit')(valid('query', AuditQuery), async (c) => {
    const { cursor, limit } = c.req.valid('query');
    return c.json(await listAudit(c.env, c.var.key, cursor, limit));
  });

  on('POST /api/keys')(valid('json', KeyRequest), async (c) => {
    const made = await makeRequestedKey(c.env, c.var.key, c.req.valid('json'), Date.now());
    return made.ok ? c.json({ key: made.key, secret: made.secret }, 201) : answerRefusal(c, made);
  });

  on('GET /api/keys')(async (c) => c.json({ keys: await listKeys(c.env, c.var.key) }));

  on('DELETE /api/keys/:id')(valid('param', IdParam), valid('query', RevokeQuery), async (c) => {
    const now = Date.now();
    const revoked = await revokeKey(c.env, c.req.valid('param').id, now, (env, workerId, at) =>
      endAttemptsOf(env, workerId, 'its key was revoked', at),
    );
    if (!revoked.ok) return answerRefusal(c, revoked);
    const { key, alsoRevoked } = revoked;
    const ids = [key, ...alsoRevoked].map(({ id }) => id);
    const keeps = c.req.valid('query').keep === '1';
    const builds = keeps ? [] : await cancelBuildsOf(c.env, ids, now);
    const submissions = keeps ? [] : await cancelSubmissionsOf(c.env, ids, now);
    const links = keeps ? [] : await revokeLinksOf(c.env, ids, now);
    if (keeps) await keepLinksOf(c.env, ids, now);
    await endFollowersOf(c.env, ids);
    drainSoon(c.env);
    const ended = {
      builds: builds.slice(0, ENDED_SHOWN_MAX),
      submissions: submissions.slice(0, ENDED_SHOWN_MAX),
      links: links.slice(0, ENDED_SHOWN_MAX),
      more: [builds, submissions, links].reduce((sum, { length }) => sum + Math.max(0, length - ENDED_SHOWN_MAX), 0),
    };
    return c.json({ key, alsoRevoked, ended } satisfies KeyRevoked);
  });

  on('POST /api/keys/:id/rotate')(valid('param', IdParam), valid('query', RotateQuery), async (c) => {
    const { overlapMs = ROTATION_OVERLAP_MS } = c.req.valid('query');
    const { id } = c.req.valid('param');
    const { key: by } = c.var;
    const untilMs = by.scope === 'admin' || by.id === id ? null : by.expiresAt;
    const rotated = await rotateKey(c.env, id, by.id, Date.now(), overlapMs, untilMs);
    if (rotated.ok && overlapMs === 0) await endFollowersOf(c.env, [id]);
    return rotated.ok ? c.json({ key: rotated.key, secret: rotated.secret }, 201) : answerRefusal(c, rotated);
  });
}
