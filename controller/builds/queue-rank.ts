/**
 * Computes where a build stands in the queue: the lower the rank, the earlier it is taken. Builds of equal
 * rank are sorted by fairness and time (queue/pick.ts). Pure.
 *
 * A build whose attempt was lost or handed back ranks before others of its priority, and behind those of a
 * higher one. Migration 0005 computes the same.
 */
export const queueRank = (priority: number, cameBack = false): number => -2 * priority - (cameBack ? 1 : 0);
