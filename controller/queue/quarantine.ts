/**
 * Decides in SQL whether a worker is in quarantine, because the infrastructure lost its last attempts. Reads
 * only.
 */
import { sql } from 'drizzle-orm';
import { VERDICTS } from '#contract';
import { isInfrastructure } from '../builds/verdicts.ts';

/**
 * After this many attempts in a row that the infrastructure lost, a worker is in quarantine until its doctor
 * passes.
 */
export const QUARANTINE_AFTER = 3;

const INFRASTRUCTURE = JSON.stringify(VERDICTS.filter(isInfrastructure));

/**
 * True if the infrastructure lost the last {@link QUARANTINE_AFTER} attempts since the worker was trusted. A
 * success has no verdict. An attempt that was handed back is no loss, and no proof of health either. Because
 * of `ended_at`, D1 reads only the end of the index.
 */
export const QUARANTINED = sql<boolean>`(
  SELECT count(*) = ${QUARANTINE_AFTER}
     AND min(coalesce(verdict, '') IN (SELECT value FROM json_each(${INFRASTRUCTURE})))
  FROM (SELECT verdict FROM attempts
        WHERE worker_id = workers.id AND ended_at > workers.trusted_since AND claimed_at > workers.trusted_since
          AND NOT handed_back
        ORDER BY ended_at DESC LIMIT ${QUARANTINE_AFTER}))`;
