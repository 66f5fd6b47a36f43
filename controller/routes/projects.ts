/** Answers about projects: a key that reaches one sees it, an admin of the farm changes it. */
import { z } from 'zod';
import { type CachedBuildAnswer, Fingerprint, PLATFORMS, ProjectPatch, ProjectRequest } from '#contract';
import { findCachedBuild } from '../build-cache/cached-build.ts';
import { changeProject, createProject, listProjects, viewProject } from '../projects/projects.ts';
import { answerRefusal } from '../refusals.ts';
import { deleteProject } from '../upkeep/project-deletion.ts';
import { valid } from '../validate.ts';
import type { On } from './register.ts';

const BuildCacheQuery = z.strictObject({ platform: z.enum(PLATFORMS), fingerprint: Fingerprint });

export function projectRoutes(on: On): void {
  on('GET /api/projects')(async (c) => {
    const listed = await listProjects(c.env, c.var.key.rights.projects);
    return c.json({ projects: listed.map(viewProject) });
  });

  on('POST /api/projects')(valid('json', ProjectRequest), async (c) => {
    const made = await createProject(c.env, c.req.valid('json'), c.var.key.rootId, Date.now());
    return made.ok ? c.json(viewProject(made.project), 201) : answerRefusal(c, made);
  });

  on('GET /api/projects/:id')((c) => c.json(viewProject(c.var.project)));

  on('PATCH /api/projects/:id')(valid('json', ProjectPatch), async (c) => {
    const changed = await changeProject(c.env, c.var.project.id, c.req.valid('json'));
    return changed.ok ? c.json(viewProject(changed.project)) : answerRefusal(c, changed);
  });

  on('DELETE /api/projects/:id')(async (c) => {
    const deleted = await deleteProject(c.env, c.var.project, Date.now());
    return deleted.ok ? c.body(null, 204) : answerRefusal(c, deleted);
  });

  on('GET /api/projects/:id/build-cache')(valid('query', BuildCacheQuery), async (c) => {
    const cached = await findCachedBuild(c.env, c.var.project.id, c.req.valid('query'), c.var.key);
    return c.json({ cached } satisfies z.infer<typeof CachedBuildAnswer>);
  });
}
