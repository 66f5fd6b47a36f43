/**
 * Finds the app that the token of a link opens now.
 *
 * Invariant: page, manifest, icon and file each ask here anew. The answer is the same null for a link that
 * never existed, was revoked or has ended, and for one that lost its artifact, build, project or key.
 */
import { and, eq, gt, isNull } from 'drizzle-orm';
import { isOfLiveProject } from '../access/readable-builds.ts';
import { whyNoMore } from '../access/still-may.ts';
import { sha256Hex } from '../bytes.ts';
import { openDatabase } from '../database.ts';
import { viewArtifact } from '../files/artifacts.ts';
import { artifacts, builds, links } from '../schema/index.ts';
import { wayOf } from './installable.ts';
import { isItsArtifact } from './links.ts';
import type { OpenedLink } from './opened-link.ts';
import { publicUrl } from './public-url.ts';

const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export async function openLink(env: Env, token: string, now: number): Promise<OpenedLink | null> {
  // This text cannot be a token, so D1 need not be asked.
  if (!TOKEN.test(token)) return null;
  const found = await openDatabase(env)
    .select({
      ...{ link: links, artifact: artifacts, commit: builds.commitSha, branch: builds.branch },
      thing: { projectId: builds.projectId, pool: builds.pool, trusted: builds.trusted },
    })
    .from(links)
    .innerJoin(builds, eq(builds.id, links.buildId))
    .innerJoin(artifacts, isItsArtifact)
    .where(
      and(
        eq(links.hash, await sha256Hex(token)),
        ...[isNull(links.revokedAt), gt(links.expiresAt, now)],
        ...[eq(builds.status, 'succeeded'), eq(builds.trusted, true), isOfLiveProject],
      ),
    )
    .get();
  if (!found) return null;
  const { link, artifact, thing, commit, branch } = found;
  if (!link.kept && (await whyNoMore(env, link, 'links', thing, now)) !== null) return null;
  const address = publicUrl(env);
  if (!address.ok) {
    console.warn(JSON.stringify({ event: address.code, link: link.id, message: address.message }));
    return null;
  }
  const { app, name, sha256, size } = viewArtifact(artifact);
  const decided = wayOf(app);
  if (!app || !decided.ok) return null;
  const fileName = name.split('/').at(-1) ?? name;
  const url = `${address.origin}/i/${token}`;
  return { token, url, expiresAt: link.expiresAt, way: decided.way, app, fileName, sha256, size, commit, branch };
}
