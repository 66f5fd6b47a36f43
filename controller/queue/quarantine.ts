/**
 * Decides in SQL whether a worker is in quarantine, because the infrastructure lost its last attempts. Reads
 * only.
 */
import { sql } from 'drizzle-orm';
import { VERDICTS } from '#contract';
import { isInfrastructure } from '../builds/verdicts.ts';

/**
 * A worker is in quarantine after so many attempts in a row that the infrastructure lost, until its doctor
 * passes.
 */
export const QUARANTINE_AFTER = 3;

const INFRASTRUCTURE = JSON.stringify(VERDICTS.filter(isInfrastructure));

/**
 * True if the infrastructure lost the last {@link QUARANTINE_AFTER} attempts since the worker was trusted. A
 * success has no verdict. An attempt that was handed back is no loss, and no proof of health either.
 * `ended_at` bounds what is read to the end of the index.
 */
export const QUARANTINED = sql<boolean>`(
  SELECT count(*) = ${QUARANTINE_AFTER}
     AND min(coalesce(verdict, '') IN (SELECT value FROM json_each(${INFRASTRUCTURE})))
  FROM (SELECT verdict FROM attempts
        WHERE worker_id = workers.id AND ended_at > workers.trusted_since AND claimed_at > workers.trusted_since
          AND NOT handed_back
        ORDER BY ended_at DESC LIMIT ${QUARANTINE_AFTER}))`;
