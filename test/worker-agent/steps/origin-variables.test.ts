import { expect, test } from 'vitest';
import { originVariables } from '../../../worker-agent/steps/origin-variables.ts';

const COMMIT = 'a'.repeat(40);

test('a build is told where its source comes from, and nothing that nobody has said', () => {
  expect(originVariables({})).toEqual({});
  expect(originVariables({ origin: { branch: 'main' } })).toEqual({ TARTBEAT_GIT_BRANCH: 'main' });
  const origin = {
    repository: 'github.com/acme/app',
    commit: COMMIT,
    branch: '$(id)',
    tag: "v1'",
    commitCount: 0,
    dirty: false,
    author: 'me',
  };
  expect(originVariables({ origin })).toEqual({
    TARTBEAT_GIT_REPOSITORY: 'github.com/acme/app',
    TARTBEAT_GIT_COMMIT: COMMIT,
    TARTBEAT_GIT_BRANCH: '$(id)',
    TARTBEAT_GIT_TAG: "v1'",
    TARTBEAT_GIT_COMMIT_COUNT: '0',
    TARTBEAT_GIT_DIRTY: '0',
    EAS_BUILD_GIT_COMMIT_HASH: COMMIT,
    SENTRY_RELEASE: COMMIT,
  });
  expect(originVariables({ origin: { dirty: true } })).toEqual({ TARTBEAT_GIT_DIRTY: '1' });
});
