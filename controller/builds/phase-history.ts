/**
 * What earlier builds of a project tell of the next one: the only module that touches the table `histories`.
 *
 * Invariant: of no consequence. No build waits for it or fails for it; two builds that end at the same moment may cost
 * one of them its share.
 */

import { and, eq, lt } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import type { ProgressHistory } from '#contract';
import { DAY_MS } from '#contract';
import { histories } from '../schema.ts';
import type { BuildRow } from './effects.ts';
import { mergeHistory } from './phase-history-mix.ts';

/** A project that has not been built for half a year has changed beyond its history. */
const KEPT_MS = 180 * DAY_MS;

/** Null for a build without a project, and for the first of one. */
export async function readHistory(env: Env, build: BuildRow): Promise<ProgressHistory | null> {
  const here = keyOf(build);
  if (!here) return null;
  const [row] = await drizzle(env.DB).select({ history: histories.history }).from(histories).where(is(here));
  return row?.history ?? null;
}

/** Never throws: the result of the build has been accepted already. */
export async function addToHistory(env: Env, build: BuildRow, newest: ProgressHistory, now: number): Promise<void> {
  const here = keyOf(build);
  if (!here || newest.phases.length === 0) return;
  try {
    const history = mergeHistory(await readHistory(env, build), newest);
    const db = drizzle(env.DB);
    await db.batch([
      db
        .insert(histories)
        .values({ ...here, history, updatedAt: now })
        .onConflictDoUpdate({
          target: [histories.project, histories.platform, histories.profile],
          set: { history, updatedAt: now },
        }),
      db.delete(histories).where(lt(histories.updatedAt, now - KEPT_MS)),
    ]);
  } catch (error) {
    console.error(JSON.stringify({ event: 'history_not_kept', build: build.id, error: String(error) }));
  }
}

type Key = Pick<typeof histories.$inferSelect, 'project' | 'platform' | 'profile'>;

const keyOf = ({ project, platform, profile }: BuildRow): Key | null =>
  project === null ? null : { project, platform, profile: profile ?? '' };

const is = ({ project, platform, profile }: Key) =>
  and(eq(histories.project, project), eq(histories.platform, platform), eq(histories.profile, profile));
