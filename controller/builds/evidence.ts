/** Reads the evidence of agents about attempts that did not end well. apply.ts writes it. */
import { and, eq, isNotNull } from 'drizzle-orm';
import type { Evidence } from '#contract';
import { type Database, openDatabase } from '../database.ts';
import { attemptEvidence, attempts } from '../schema/index.ts';

/** The statements that read the evidence of all attempts of a build. {@link byAttempt} joins their rows. */
export const evidenceOf = (db: Database, buildId: string) =>
  [
    db
      .select({ attempt: attemptEvidence.attempt, evidence: attemptEvidence.evidence })
      .from(attemptEvidence)
      .where(eq(attemptEvidence.buildId, buildId)),
    // The former release kept evidence in the row of its attempt.
    db
      .select({ attempt: attempts.attempt, evidence: attempts.evidence })
      .from(attempts)
      .where(and(eq(attempts.buildId, buildId), isNotNull(attempts.evidence))),
  ] as const;

interface Row {
  attempt: number;
  evidence: Evidence | null;
}

export const byAttempt = (rows: Row[], earlier: Row[]): Map<number, Evidence | null> =>
  new Map([...earlier, ...rows].map(({ attempt, evidence }) => [attempt, evidence]));

export async function findEvidence(env: Env, buildId: string, attempt: number): Promise<Evidence | null> {
  const db = openDatabase(env);
  const [rows, earlier] = await db.batch(evidenceOf(db, buildId));
  return byAttempt(rows, earlier).get(attempt) ?? null;
}
