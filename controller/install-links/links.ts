/**
 * Makes, finds, lists and revokes links to install pages.
 *
 * Invariant: only the SHA-256 of a token is stored, and a token has 256 random bits. The one statement that
 * adds a link has everything that the link depends on as a condition.
 *
 * Owns the table `links`, but for the removal of rows that have ended (upkeep/retention.ts).
 */
import { and, desc, eq, isNull, type SQL, sql } from 'drizzle-orm';
import {
  DAY_MS,
  LINKS_OF_BUILD_MAX,
  LINKS_OF_PROJECT_MAX,
  type Link,
  type LinkCreated,
  type LinkRequest,
} from '#contract';
import { type AuthenticatedKey, isUsableRow } from '../access/keys.ts';
import { isOfLiveProject, readableBy } from '../access/readable-builds.ts';
import type { Holder, Thing } from '../access/rights.ts';
import { type Cursor, nextCursor } from '../builds/list.ts';
import type { BuildRow } from '../builds/rows.ts';
import { randomText, sha256Hex } from '../bytes.ts';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { listArtifacts, viewArtifact } from '../files/artifacts.ts';
import { retentionDays } from '../files/retention-days.ts';
import { newId } from '../ids.ts';
import { type Admission, admissionsOfArtifact, allOf, whyNotAdmitted } from '../projects/admission.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { artifacts, builds, keys, links } from '../schema/index.ts';
import { iso, isoOrNull } from '../times.ts';
import { installable } from './installable.ts';
import { publicUrl } from './public-url.ts';

export type LinkRow = typeof links.$inferSelect;

const TOKEN_BYTES = 32;

/**
 * Refused: `public_url_missing`, `illegal_transition` for a build that has not succeeded, `forbidden` for one
 * that is not trusted, `not_installable`, `too_many`; `project_deleted`, `unauthorized`, `not_found` or
 * `unavailable` if the project, the key, the build or its links changed during the request.
 */
export async function createLink(
  env: Env,
  build: BuildRow,
  { artifact: asked, expiresInMs }: LinkRequest,
  by: AuthenticatedKey,
  now: number,
): Promise<{ ok: true; created: LinkCreated } | Refusal> {
  const address = publicUrl(env);
  if (!address.ok) return address;
  if (!build.trusted) return refusal('forbidden', 'a build that is not trusted gets no link');
  if (build.status !== 'succeeded')
    return refusal('illegal_transition', `only a build that has succeeded gets a link; this one is ${build.status}`);
  const found = installable(await listArtifacts(env, build.id), build.attempt, asked);
  if (!found.ok) return found;
  const { artifact } = found;
  const token = randomText(TOKEN_BYTES);
  const ends = [
    (build.endedAt ?? now) + retentionDays(env).artifacts * DAY_MS,
    await endOfKey(env, by.id),
    expiresInMs === undefined ? null : now + expiresInMs,
  ];
  const row: typeof links.$inferInsert = {
    ...{ id: newId('lnk', now), hash: await sha256Hex(token), projectId: build.projectId, buildId: build.id },
    ...{ attempt: artifact.attempt, artifact: artifact.name, sha256: artifact.sha256 },
    ...{ createdByKey: by.id, createdByRoot: by.rootId, createdAt: now },
    expiresAt: Math.min(...ends.filter((end) => end !== null)),
  };
  if (row.expiresAt <= now) return artifactGone(artifact.name);
  const admissions = admissionsOf(row, build);
  const db = openDatabase(env);
  const { meta } = await insertIf(db, links, row, allOf(admissions));
  if (meta.changes === 0)
    return (
      (await whyNotAdmitted(env, admissions)) ??
      refusal('unavailable', 'the build or its links changed during the request; send it again')
    );
  const [link] = await shownLinks(env, eq(links.id, row.id), 1);
  if (!link) return artifactGone(artifact.name);
  return { ok: true, created: { ...link, url: `${address.origin}/i/${token}` } };
}

/** When the key itself expires. A rotation does not count, because the new key speaks for the links. */
async function endOfKey(env: Env, id: string): Promise<number | null> {
  const row = await openDatabase(env).select({ expiresAt: keys.expiresAt }).from(keys).where(eq(keys.id, id)).get();
  return row?.expiresAt ?? null;
}

const artifactGone = (name: string) => refusal('not_installable', `artifact: ${name} is not kept any more; build anew`);

function admissionsOf(row: typeof links.$inferInsert, build: BuildRow): Admission[] {
  const { projectId, buildId } = row;
  const most = (what: string, max: number) =>
    refusal(
      'too_many',
      `a ${what} has at most ${max} links, with those that ended within the last day; use one that it has`,
    );
  return [
    ...admissionsOfArtifact(row, build.project, artifactGone(row.artifact)),
    {
      holds: sql`(SELECT count(*) FROM links WHERE build_id = ${buildId}) < ${LINKS_OF_BUILD_MAX}`,
      otherwise: most('build', LINKS_OF_BUILD_MAX),
    },
    {
      holds: sql`(SELECT count(*) FROM links WHERE project_id = ${projectId}) < ${LINKS_OF_PROJECT_MAX}`,
      otherwise: most('project', LINKS_OF_PROJECT_MAX),
    },
  ];
}

/** A link, and the facts of its build that decide which keys reach it. */
interface FoundLink {
  link: LinkRow;
  thing: Required<Pick<Thing, 'projectId' | 'pool' | 'trusted'>>;
}

/** A link of a project that is not deleted. */
export const findLink = (env: Env, id: string): Promise<FoundLink | undefined> =>
  openDatabase(env)
    .select({ link: links, thing: { projectId: links.projectId, pool: builds.pool, trusted: builds.trusted } })
    .from(links)
    .innerJoin(builds, eq(builds.id, links.buildId))
    .where(and(eq(links.id, id), isOfLiveProject))
    .get();

/** The links of a build that authorisation has found, newest first. */
export const listLinksOf = (env: Env, buildId: string): Promise<Link[]> =>
  shownLinks(env, eq(links.buildId, buildId), LINKS_OF_BUILD_MAX);

/** A page of the links of a project whose builds the key may read, newest first. */
export async function listLinks(
  env: Env,
  key: Holder,
  projectId: string,
  { cursor, limit }: { cursor?: Cursor | undefined; limit: number },
): Promise<{ links: Link[]; nextCursor: string | null }> {
  const older = cursor && sql`(${links.createdAt}, ${links.id}) < (${cursor.createdAt}, ${cursor.id})`;
  const shown = await shownLinks(env, and(eq(links.projectId, projectId), readableBy(key), older), limit);
  const page = shown.map(({ createdAt, id }) => ({ createdAt: Date.parse(createdAt), id }));
  return { links: shown, nextCursor: nextCursor(page, limit) };
}

/** Revokes a link at once and for ever. A second call answers the same. Null if there is no such link. */
export async function revokeLink(env: Env, id: string, now: number): Promise<Link | null> {
  await openDatabase(env)
    .update(links)
    .set({ revokedAt: sql`coalesce(${links.revokedAt}, ${now})` })
    .where(eq(links.id, id));
  return (await shownLinks(env, eq(links.id, id), 1))[0] ?? null;
}

/**
 * The links of keys that have just been revoked: those that they made, and those of earlier keys of their
 * lineages, if no key is left that speaks for them (access/still-may.ts).
 */
const isOfRevoked = (keyIds: readonly string[], now: number): SQL => {
  const revoked = sql`(SELECT value FROM json_each(${JSON.stringify(keyIds)}))`;
  const roots = sql`(SELECT coalesce(root_id, id) FROM keys WHERE id IN ${revoked})`;
  return sql`(${links.createdByKey} IN ${revoked} OR (
    ${links.createdByKey} IN (SELECT id FROM keys WHERE root_id IN ${roots} OR id IN ${roots})
    AND NOT ${links.kept}
    AND NOT EXISTS (
      SELECT 1 FROM keys AS speaks
      WHERE (speaks.root_id = ${links.createdByRoot} OR speaks.id = ${links.createdByKey})
        AND ${isUsableRow('speaks', now)})))`;
};

/**
 * Revokes the links of keys that were revoked, also of those that they replace. Answers the ids of those that
 * had not ended.
 */
export async function revokeLinksOf(env: Env, keyIds: readonly string[], now: number): Promise<string[]> {
  const revoked = await openDatabase(env)
    .update(links)
    .set({ revokedAt: now })
    .where(and(isOfRevoked(keyIds, now), isNull(links.revokedAt), sql`${links.expiresAt} > ${now}`))
    .returning({ id: links.id });
  return revoked.map(({ id }) => id);
}

/** Keeps the links of these keys working although the keys were revoked. */
export async function keepLinksOf(env: Env, keyIds: readonly string[], now: number): Promise<void> {
  await openDatabase(env)
    .update(links)
    .set({ kept: true })
    .where(and(isOfRevoked(keyIds, now), isNull(links.revokedAt)));
}

/** The statement that removes the links of a project, in the batch of another owner, if `condition` holds. */
export const withoutLinks = (db: Database, projectId: string, condition: SQL) =>
  db.delete(links).where(and(eq(links.projectId, projectId), condition));

async function shownLinks(env: Env, where: SQL | undefined, limit: number): Promise<Link[]> {
  const rows = await openDatabase(env)
    .select({ link: links, artifact: artifacts, keyName: keys.name })
    .from(links)
    .innerJoin(builds, eq(builds.id, links.buildId))
    .leftJoin(artifacts, isItsArtifact)
    .leftJoin(keys, eq(keys.id, links.createdByKey))
    .where(where)
    .orderBy(desc(links.createdAt), desc(links.id))
    .limit(limit);
  return rows.map(({ link, artifact, keyName }) => ({
    ...{ id: link.id, buildId: link.buildId, projectId: link.projectId },
    artifact: { name: link.artifact, attempt: link.attempt, sha256: link.sha256, size: artifact?.size ?? null },
    app: artifact && viewArtifact(artifact).app,
    createdBy: { keyId: link.createdByKey, name: keyName },
    ...{ createdAt: iso(link.createdAt), expiresAt: iso(link.expiresAt), revokedAt: isoOrNull(link.revokedAt) },
  }));
}

/** The artifact of a link, while it is kept. */
export const isItsArtifact: SQL = and(
  eq(artifacts.buildId, links.buildId),
  eq(artifacts.attempt, links.attempt),
  eq(artifacts.name, links.artifact),
  eq(artifacts.sha256, links.sha256),
)!;
