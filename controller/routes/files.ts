/** What an attempt takes (source, inputs) and what a build leaves (artifacts). */
import { Hono } from 'hono';
import { z } from 'zod';
import { ArtifactName, type Inputs } from '#contract';
import { requireAttempt, requireScope } from '../access/auth.ts';
import { writerOf } from '../attempts/writers.ts';
import { findArtifact, listArtifacts } from '../files/artifacts.ts';
import { attachment, contentType, sendBlob } from '../files/download.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { openInputs } from '../secrets/inputs.ts';
import { AttemptNumber, Id, IdParam, valid } from '../validate.ts';

const AttemptQuery = z.object({ attempt: AttemptNumber.optional() });

export const fileRoutes = new Hono<{ Bindings: Env }>()
  .get('/:id/source', requireAttempt('run'), valid('param', IdParam), async (c) => {
    const taker = await writerOf(c.env, c.var.caller, c.req.valid('param').id, null, 'take', Date.now());
    if (!taker.ok) return answerRefusal(c, taker);
    const sent = await sendBlob(c.env, c.req.raw, taker.build.sourceSha256, {
      'Content-Type': 'application/octet-stream',
    });
    return sent instanceof Response ? sent : answerRefusal(c, sent);
  })
  .get('/:id/inputs', requireAttempt('run'), valid('param', IdParam), async (c) => {
    const taker = await writerOf(c.env, c.var.caller, c.req.valid('param').id, null, 'take', Date.now());
    if (!taker.ok) return answerRefusal(c, taker);
    const { id, inputs: sealed } = taker.build;
    const inputs: Inputs = sealed === null ? { env: {} } : await openInputs(c.env, id, sealed);
    c.header('Cache-Control', 'no-store');
    return c.json(inputs);
  })
  .get('/:id/artifacts', requireScope('submit'), valid('param', IdParam), async (c) => {
    const { id } = c.req.valid('param');
    const found = await listArtifacts(c.env, id);
    return found ? c.json({ artifacts: found }) : answerRefusal(c, refusal('not_found', 'there is no such build'));
  })
  /** The newest attempt's that has one of this name, unless told. */
  .get(
    '/:id/artifacts/:name{.+}',
    requireScope('submit'),
    valid('param', z.object({ id: Id, name: ArtifactName })),
    valid('query', AttemptQuery),
    async (c) => {
      const { id, name } = c.req.valid('param');
      const artifact = await findArtifact(c.env, id, name, c.req.valid('query').attempt);
      if (!artifact) return answerRefusal(c, refusal('not_found', 'the build has no artifact of this name'));
      const headers = { 'Content-Type': contentType(name), 'Content-Disposition': attachment(name) };
      const sent = await sendBlob(c.env, c.req.raw, artifact.sha256, headers);
      return sent instanceof Response ? sent : answerRefusal(c, sent);
    },
  );
