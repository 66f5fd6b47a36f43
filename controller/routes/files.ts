/** Sends an attempt its source and inputs, and a key the artifacts of a build. */
import { z } from 'zod';
import { ArtifactName } from '#contract';
import { inputsOfAttempt } from '../attempts/inputs-of-attempt.ts';
import { writerOf } from '../attempts/writers.ts';
import { findArtifact, listArtifacts } from '../files/artifacts.ts';
import { attachment, contentType, sendBlob } from '../files/download.ts';
import { answerRefusal, type Refusal, refusal } from '../refusals.ts';
import { AttemptNumber, IdParam, valid } from '../validate.ts';
import type { On } from './register.ts';

/** Without `attempt`: the newest attempt that has an artifact of this name. */
const AttemptQuery = z.object({ attempt: AttemptNumber.optional() });

/** Not `not_found`, which also says that there is no such build. The agent ends the build for this code. */
const sourceGone = (buildId: string): Refusal =>
  refusal('inputs_gone', `the source of build ${buildId} is no longer stored. Submit the build anew with it.`);

export function fileRoutes(on: On): void {
  on('GET /api/builds/:id/source')(valid('param', IdParam), async (c) => {
    const taker = await writerOf(c.env, c.var.caller, c.req.valid('param').id, null, 'take', Date.now());
    if (!taker.ok) return answerRefusal(c, taker);
    const headers = { 'Content-Type': 'application/octet-stream' };
    const sent = await sendBlob(c.env, c.req.raw, taker.build.sourceSha256, headers);
    if (sent instanceof Response) return sent;
    return answerRefusal(c, sent.code === 'not_found' ? sourceGone(taker.build.id) : sent);
  });

  on('GET /api/builds/:id/inputs')(valid('param', IdParam), async (c) => {
    const now = Date.now();
    const taker = await writerOf(c.env, c.var.caller, c.req.valid('param').id, null, 'take', now);
    if (!taker.ok) return answerRefusal(c, taker);
    const given = await inputsOfAttempt(c.env, taker.build, taker.attempt, now);
    if (!given.ok) {
      // An admin must put the key back. Until then the attempt waits.
      if (given.code === 'inputs_key_missing')
        console.warn(JSON.stringify({ event: given.code, build: taker.build.id, message: given.message }));
      return answerRefusal(c, given);
    }
    c.header('Cache-Control', 'no-store');
    return c.json(given.inputs);
  });

  on('GET /api/builds/:id/artifacts')(async (c) => c.json({ artifacts: await listArtifacts(c.env, c.var.build.id) }));

  on('GET /api/builds/:id/artifacts/:name{.+}')(
    valid('param', z.object({ name: ArtifactName })),
    valid('query', AttemptQuery),
    async (c) => {
      const { name } = c.req.valid('param');
      const artifact = await findArtifact(c.env, c.var.build.id, name, c.req.valid('query').attempt);
      if (!artifact) return answerRefusal(c, refusal('not_found', 'the build has no artifact of this name'));
      const headers = { 'Content-Type': contentType(name), 'Content-Disposition': attachment(name) };
      const sent = await sendBlob(c.env, c.req.raw, artifact.sha256, headers);
      return sent instanceof Response ? sent : answerRefusal(c, sent);
    },
  );

  on('GET /api/builds/:id/icons/:name{.+}')(
    valid('param', z.object({ name: ArtifactName })),
    valid('query', AttemptQuery),
    async (c) => {
      const artifact = await findArtifact(
        c.env,
        c.var.build.id,
        c.req.valid('param').name,
        c.req.valid('query').attempt,
      );
      const icon = artifact?.app?.icon;
      if (!icon) return answerRefusal(c, refusal('not_found', 'the build has no artifact of this name with an icon'));
      const headers = { 'Content-Type': 'image/png', 'Content-Disposition': attachment('icon.png') };
      const sent = await sendBlob(c.env, c.req.raw, icon, headers);
      return sent instanceof Response ? sent : answerRefusal(c, sent);
    },
  );
}
