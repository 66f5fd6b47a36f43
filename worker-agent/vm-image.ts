/** Finds vm-image/: beside worker-agent/ in the repository, beside dist/ in the package. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const places = ['../vm-image', '../../vm-image'].map((folder) => join(import.meta.dirname, folder));

export const VM_IMAGE: string = places.find(existsSync) ?? places[0]!;
