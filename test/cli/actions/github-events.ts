/**
 * Lists the events that a job of GitHub Actions runs for, in the shape of GitHub's documented payloads, with
 * the fields that somebody reads. `env` are the variables that the runner sets for the event.
 */
const HEAD = '4a1f0c7b9d2e3f5061728394a5b6c7d8e9f00112';
const MERGE = 'ffffffffffffffffffffffffffffffffffffffff';
const repository = {
  id: 1296269,
  full_name: 'acme/shop',
  private: true,
  default_branch: 'main',
  owner: { login: 'acme' },
};
const fork = { id: 1296270, full_name: 'stranger/shop', private: false, fork: true, owner: { login: 'stranger' } };
const sender = { login: 'octocat', type: 'User' };
const headCommit = {
  id: HEAD,
  message: 'Checkout: show the total\n\nIt was cut off on small screens.\n',
  timestamp: '2026-11-29T10:00:00+01:00',
  author: { name: 'Mona Lisa', email: 'mona@example.com', username: 'mona' },
  committer: { name: 'GitHub', email: 'noreply@github.com', username: 'web-flow' },
};

const pullRequest = (from: object | null) => ({
  action: 'synchronize',
  number: 12,
  pull_request: {
    number: 12,
    state: 'open',
    title: 'Show the total',
    user: { login: 'mona', type: 'User' },
    head: { label: 'x:total', ref: 'total', sha: HEAD, repo: from },
    base: { label: 'acme:main', ref: 'main', sha: MERGE, repo: repository },
    merge_commit_sha: MERGE,
  },
  repository,
  sender,
});

export interface GithubJob {
  event: string;
  payload: object;
  env: { GITHUB_SHA: string; GITHUB_REF: string; [name: string]: string };
}

const onPullRequest = { GITHUB_SHA: MERGE, GITHUB_REF: 'refs/pull/12/merge', GITHUB_HEAD_REF: 'total' };
const onMain = { GITHUB_SHA: HEAD, GITHUB_REF: 'refs/heads/main' };

export const GITHUB_JOBS = {
  push: {
    event: 'push',
    payload: { ref: 'refs/heads/main', after: HEAD, head_commit: headCommit, repository, sender },
    env: onMain,
  },
  tag: {
    event: 'push',
    payload: { ref: 'refs/tags/v1.2.0', after: HEAD, head_commit: headCommit, repository, sender },
    env: { GITHUB_SHA: HEAD, GITHUB_REF: 'refs/tags/v1.2.0' },
  },
  pullRequest: { event: 'pull_request', payload: pullRequest(repository), env: onPullRequest },
  fork: { event: 'pull_request', payload: pullRequest(fork), env: onPullRequest },
  deletedFork: { event: 'pull_request', payload: pullRequest(null), env: onPullRequest },
  forkWithSecrets: { event: 'pull_request_target', payload: pullRequest(fork), env: onMain },
  mergeGroup: {
    event: 'merge_group',
    payload: {
      action: 'checks_requested',
      merge_group: {
        head_sha: HEAD,
        head_ref: `refs/heads/gh-readonly-queue/main/pr-12-${MERGE}`,
        base_sha: MERGE,
        base_ref: 'refs/heads/main',
        head_commit: headCommit,
      },
      repository,
      sender,
    },
    env: { GITHUB_SHA: HEAD, GITHUB_REF: `refs/heads/gh-readonly-queue/main/pr-12-${MERGE}` },
  },
  dispatch: {
    event: 'workflow_dispatch',
    payload: { inputs: { profile: 'production' }, ref: 'refs/heads/main', repository, sender },
    env: onMain,
  },
  schedule: { event: 'schedule', payload: { schedule: '0 4 * * *', repository }, env: onMain },
  workflowRun: {
    event: 'workflow_run',
    payload: {
      action: 'completed',
      workflow_run: {
        id: 30433642,
        event: 'pull_request',
        head_branch: 'total',
        head_sha: HEAD,
        head_commit: headCommit,
        head_repository: fork,
        pull_requests: [],
      },
      repository,
      sender,
    },
    env: { GITHUB_SHA: MERGE, GITHUB_REF: 'refs/heads/main' },
  },
} satisfies Record<string, GithubJob>;

/** The variables that a runner sets in every job. */
export const githubEnv = ({ event, env }: GithubJob) => ({
  CI: 'true',
  GITHUB_ACTIONS: 'true',
  GITHUB_EVENT_NAME: event,
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_REPOSITORY: 'acme/shop',
  GITHUB_RUN_ID: '30433643',
  GITHUB_RUN_ATTEMPT: '1',
  GITHUB_ACTOR: 'octocat',
  ...env,
});
