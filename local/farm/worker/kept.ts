/** Where starts of local controllers keep what the next one uses again. */
import path from 'node:path';
import { PROJECT_ROOT } from '../project-root.ts';

export const KEPT = path.join(PROJECT_ROOT, 'node_modules/.cache/local-worker');
