/**
 * Deletes a project: marks it first, and in the same batch takes it from every key and removes its secrets.
 * Retention then removes its builds, with all that hangs on them, in portions.
 *
 * Invariant: from the mark on, nothing is added to the project, because every insertion that names a project
 * looks for the mark in its own batch. So either a submission comes first, and the deletion is refused, or
 * the submission is.
 */
import { and, eq } from 'drizzle-orm';
import { withoutProject } from '../access/keys.ts';
import { openDatabase } from '../database.ts';
import { withoutHistories } from '../phase-history/phase-history.ts';
import { DEFAULT_PROJECT_ID, noProject, type ProjectRow } from '../projects/find-project.ts';
import { countUnfinished, deletionMark, isDeleted } from '../projects/projects.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { secrets } from '../schema/index.ts';

/** Refused: `project_in_use` while builds are unfinished, `invalid_request` for the default project. */
export async function deleteProject(env: Env, project: ProjectRow, now: number): Promise<{ ok: true } | Refusal> {
  const { id, name } = project;
  if (id === DEFAULT_PROJECT_ID)
    return refusal(
      'invalid_request',
      'the default project cannot be deleted, because builds that name no project belong to it',
    );
  const db = openDatabase(env);
  const [marked] = await db.batch([
    deletionMark(db, project, now),
    withoutProject(db, id, isDeleted(id)),
    db.delete(secrets).where(and(eq(secrets.projectId, id), isDeleted(id))),
    withoutHistories(db, id, isDeleted(id)),
  ]);
  if (marked.length > 0) return { ok: true };
  const { queued, active } = await countUnfinished(env, project);
  if (queued + active === 0) return noProject(name);
  return refusal(
    'project_in_use',
    `${queued + active} builds of project ${name} have not ended: ${queued} wait, ${active} run. Cancel each of ` +
      `them (\`POST /api/builds/ID/cancel\`; \`GET /api/builds?project=${name}&status=queued\`, then \`assigned\` and ` +
      '`building`, lists them), or wait for their end. Then delete the project again.',
  );
}
