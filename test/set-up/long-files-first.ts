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
  'cli/submit',
  'client/signing/certificate',
  'client/packing/archive-check',
  'client/git-history/shallow-git',
  'worker-agent/mac/launchd',
  'client/packing/list-source',
  'worker-agent/images/fetch',
  'cli/git-origin',
  'cli/json-commands',
  'vm-image/create-base-image',
  'vm-image/provision/steps',
  'vm-image/provision/identity',
  'worker-agent/build-log/follower.programs',
  'worker-agent/guest/commands.programs',
  'cli/actions/action.programs',
  'vm-image/vm-monitor',
  'worker-agent/tart-simulator/lifecycle',
  'worker-agent/tart-simulator/exec',
  'cli/build-cache.programs',
  'vm-image/vm-ssh-gate',
  'worker-agent/tart-simulator/interoperability',
  'worker-agent/tart-simulator/registry',
  'vm-image/provision/authorities',
  'local/dev.programs',
  'vm-image/guest',
  'worker-agent/expo-worker.programs',
  'vm-image/keychain',
  'former-release/former-release',
  'local/plain-monitor.programs',
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
