/** Fills the queue as a busy farm does, and changes builds by their status alone, to look at the order. */
import { env } from 'cloudflare:workers';
import { DEFAULT_TIMEOUTS } from '#contract';
import { queueRank } from '../../../controller/builds/queue-rank.ts';
import { bytesOf, insertBlob, unique } from '../factories/rows.ts';

export interface Queued {
  id: string;
  projectId: string;
  trusted: boolean;
  pool: string;
  platform: 'ios' | 'android';
  image: string | null;
  priority: number;
  cameBack: boolean;
  queuedAt: number;
}

/** A project, with a limit if it has one. */
export async function aProject(maxActive: number | null = null): Promise<string> {
  const id = unique('prj');
  await env.DB.prepare('INSERT INTO projects (id, name, created_at, max_active) VALUES (?1, ?1, 0, ?2)')
    .bind(id, maxActive)
    .run();
  return id;
}

export const aQueued = (changes: Partial<Queued> & Pick<Queued, 'projectId' | 'pool'>): Queued => ({
  ...{ id: unique('bld'), trusted: true, platform: 'ios', image: null, priority: 0, cameBack: false, queuedAt: 1 },
  ...changes,
});

/** Adds builds to the queue by one statement. */
export async function enqueue(builds: readonly Queued[]): Promise<void> {
  const sha256 = await insertBlob(bytesOf('a source'));
  const rows = builds.map((build) => ({ ...build, rank: queueRank(build.priority, build.cameBack) }));
  await env.DB.prepare(
    `INSERT INTO builds (id, status, attempt, transition_id, max_attempts, platform, command, source_sha256, source_blob,
       artifact_globs, timeouts, pool, image, project_id, trusted, labels, priority, queue_rank, queued_at, created_at)
     SELECT value ->> 'id', 'queued', 0, 't', 3, value ->> 'platform', 'true', ?2, ?2, '[]', ?3, value ->> 'pool',
       value ->> 'image', value ->> 'projectId', value ->> 'trusted', '{}', value ->> 'priority', value ->> 'rank',
       value ->> 'queuedAt', value ->> 'queuedAt' FROM json_each(?1)`,
  )
    .bind(JSON.stringify(rows), sha256, JSON.stringify(DEFAULT_TIMEOUTS))
    .run();
}

export const begin = (id: string) =>
  env.DB.prepare("UPDATE builds SET status = 'building' WHERE id = ?1").bind(id).run();

export const end = (id: string) =>
  env.DB.prepare("UPDATE builds SET status = 'succeeded', ended_at = 1 WHERE id = ?1").bind(id).run();
