/** Submits builds that have succeeded to stores: makes, lists, shows and cancels submissions. */
import { z } from 'zod';
import { Id, PAGE_MAX, type SubmissionList, SubmissionRequest, type SubmitOptions } from '#contract';
import type { AuthenticatedKey } from '../access/keys.ts';
import { may, type Thing } from '../access/rights.ts';
import { CursorParam } from '../builds/list.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { createSubmission } from '../submissions/create.ts';
import { listSubmissions, listSubmissionsOf, viewSubmission } from '../submissions/views.ts';
import { valid, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

const ListQuery = z.strictObject({
  cursor: CursorParam,
  limit: wholeNumber(1, PAGE_MAX).default(20),
});

export function submissionRoutes(on: On): void {
  on('POST /api/builds/:id/submissions')(valid('json', SubmissionRequest, SUBMISSION_MAX_BYTES), async (c) => {
    const { idempotencyKey, ...options } = c.req.valid('json');
    const { build, key } = c.var;
    const name = idempotencyKey ?? null;
    const created = await createSubmission(c.env, build, options as SubmitOptions, askerOf(key), name, Date.now());
    if (!created.ok) return answerRefusal(c, created);
    const { submission, made } = created;
    if (made) await begin(c.env, submission.id);
    const detail = await viewSubmission(c.env, submission.id);
    return detail ? c.json(detail, made ? 201 : 200) : answerRefusal(c, removed(submission.id));
  });

  on('GET /api/builds/:id/submissions')(async (c) => {
    const submissions = await listSubmissionsOf(c.env, c.var.build.id);
    return c.json({ submissions, nextCursor: null } satisfies SubmissionList);
  });

  on('GET /api/projects/:id/submissions')(valid('query', ListQuery), async (c) =>
    c.json((await listSubmissions(c.env, c.var.key, c.var.project.id, c.req.valid('query'))) satisfies SubmissionList),
  );

  on('GET /api/submissions/:id')(valid('param', z.object({ id: Id })), async (c) => {
    const { id } = c.var.submission;
    const detail = await viewSubmission(c.env, id);
    return detail ? c.json(detail) : answerRefusal(c, removed(id));
  });

  on('POST /api/submissions/:id/cancel')(valid('param', z.object({ id: Id })), async (c) => {
    const { id } = c.var.submission;
    const cancelled = await c.env.STORE_UPLOADS.getByName(id).cancel(`The key ${c.var.key.name} cancelled it.`);
    if (cancelled === 'too_late')
      return answerRefusal(
        c,
        refusal(
          'illegal_transition',
          'the store has the app already, or is just getting it, so it cannot be called back',
        ),
      );
    const submission = await viewSubmission(c.env, id);
    if (!submission) return answerRefusal(c, removed(id));
    if (submission.state !== 'cancelled')
      return answerRefusal(c, refusal('illegal_transition', `the submission has ended: ${submission.state}`));
    return c.json(submission);
  });
}

/** Room for the longest `whatToTest` in a script whose characters must be escaped. */
const SUBMISSION_MAX_BYTES = 64 * 1024;

const askerOf = (key: AuthenticatedKey) => ({
  id: key.id,
  rootId: key.rootId,
  mayRead: (thing: Thing) => may(key, 'builds.read', thing),
});

/** The row of the submission is stored. So if this fails, the sweep begins the submission. */
async function begin(env: Env, id: string): Promise<void> {
  try {
    await env.STORE_UPLOADS.getByName(id).begin();
  } catch (error) {
    console.warn(JSON.stringify({ event: 'submission_not_begun', submission: id, error: String(error) }));
  }
}

/** For a submission that was removed during the request. */
const removed = (id: string) => refusal('not_found', `there is no submission ${id}`);
