/**
 * Global set-up: makes the local database that each controller copies. It takes seconds of CPU time, which
 * on a busy machine are minutes. So no test spends its own time on it, and no two make it at once.
 */
import { databaseTemplate } from '../../local/farm/database.ts';

export async function setup(): Promise<void> {
  await databaseTemplate();
}
