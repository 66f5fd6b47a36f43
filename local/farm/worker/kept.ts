/** Names the folder where starts of local controllers keep files for the next start. */
import path from 'node:path';
import { PROJECT_ROOT } from '../project-root.ts';

export const KEPT = path.join(PROJECT_ROOT, 'node_modules/.cache/local-worker');
