/**
 * Orders the test files: those that take longest begin first, so that none of them runs on alone at the end.
 * Vitest does so by itself where it has run before. A fresh checkout, as in CI, has only the sizes of files.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Of each project, in this order. */
const LONG = [
  'controller/builds/database-faults',
  'controller/routes/authorisation',
  'controller/routes/platform-limits',
  'controller/projects/build-numbers',
  'controller/submissions/random-runs',
  'controller/queue/limits',
  'controller/upkeep/a-year',
  'controller/routes/fuzz',
  'vm-image/create-base-image',
  'cli/submit',
  'cli/json-commands',
  'vm-image/provision/steps',
  'vm-image/provision/authorities',
  'vm-image/provision/identity',
  'former-release/former-release',
  'vm-image/vm-monitor',
  'cli/build-cache',
  'worker-agent/guest/commands',
  'vm-image/keychain',
  'vm-image/vm-ssh-gate',
  'client/packing/archive-check',
  'vm-image/guest/kept',
  'worker-agent/expo-worker',
  'worker-agent/images/pulled-images',
  'local/dev',
  'local/plain-monitor',
  'local/curl-follows',
  'worker-agent/attempt/attempt.farm',
  'worker-agent/health-checks/check-up.farm',
  'worker-agent/guest/versions.farm',
  'worker-agent/attempt/profile-builds.farm',
  'worker-agent/attempt/agent-restarts.farm',
];

const fileOf = (name: string) => join(import.meta.dirname, '..', `${name}.test.ts`);

export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = LONG.filter((name) => !existsSync(fileOf(name)));
    if (gone.length > 0) throw new Error(`long-files-first.ts names files that are not there: ${gone.join(', ')}`);
    const sorted = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const index = LONG.findIndex((name) => moduleId === fileOf(name));
      return index === -1 ? LONG.length : index;
    };
    const byProject = Map.groupBy(sorted, ({ project }) => project.name);
    return [...byProject.values()].flatMap((specs) => specs.sort((a, b) => place(a) - place(b)));
  }
}
