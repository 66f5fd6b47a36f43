/** Reads how long the deployment keeps builds, and their logs, artifacts and sources. */
import { z } from 'zod';

const days = (usual: number) => z.number().int().min(1).max(3_650).default(usual);
const RetentionDays = z.object({ logs: days(30), artifacts: days(14), sources: days(3), builds: days(180) });
export type RetentionDays = z.infer<typeof RetentionDays>;

/** @throws if the variable RETENTION_DAYS is not as documented */
export const retentionDays = (env: Pick<Env, 'RETENTION_DAYS'>): RetentionDays =>
  RetentionDays.parse(env.RETENTION_DAYS ?? {});
