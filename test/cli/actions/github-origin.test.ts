import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Origin } from '#contract';
import { isFromStranger, isOfFork } from '../../../cli/submit/github-event.ts';
import { githubOrigin } from '../../../cli/submit/github-origin.ts';
import { GITHUB_JOBS, type GithubJob, githubEnv } from './github-events.ts';

const HEAD = '4a1f0c7b9d2e3f5061728394a5b6c7d8e9f00112';
const QUEUE = `gh-readonly-queue/main/pr-12-${'f'.repeat(40)}`;
const message = 'Checkout: show the total\n\nIt was cut off on small screens.';
const said = { commit: HEAD, url: 'https://github.com/acme/shop/actions/runs/30433643' };
const ours = { ...said, repository: 'github.com/acme/shop' };
const byMona = { message, author: 'Mona Lisa' };
const pull = { ref: 'refs/pull/12/merge', branch: 'total', pullRequest: 12, message: 'Show the total', author: 'mona' };
const stranger = 'github.com/stranger/shop';

const ORIGINS: Record<keyof typeof GITHUB_JOBS, [origin: Origin, isOfFork: boolean]> = {
  push: [{ ...ours, ref: 'refs/heads/main', branch: 'main', ...byMona }, false],
  tag: [{ ...ours, ref: 'refs/tags/v1.2.0', tag: 'v1.2.0', ...byMona }, false],
  pullRequest: [{ ...ours, ...pull }, false],
  fork: [{ ...said, ...pull, repository: stranger }, true],
  deletedFork: [{ ...said, ...pull }, true],
  forkWithSecrets: [{ ...said, ...pull, repository: stranger, ref: 'refs/heads/main' }, true],
  mergeGroup: [{ ...ours, ref: `refs/heads/${QUEUE}`, branch: QUEUE, ...byMona }, false],
  dispatch: [{ ...ours, ref: 'refs/heads/main', branch: 'main' }, false],
  schedule: [{ ...ours, ref: 'refs/heads/main', branch: 'main' }, false],
  workflowRun: [{ ...said, ref: 'refs/heads/main', branch: 'total', repository: stranger, ...byMona }, true],
};

const originOf = (job: GithubJob, env: Record<string, string> = {}) =>
  githubOrigin({ ...githubEnv(job), ...env }, () => JSON.stringify(job.payload));

test('an event says where the source comes from, and whether a stranger wrote it', () => {
  for (const [name, [origin, ofFork]] of Object.entries(ORIGINS)) {
    const job: GithubJob = GITHUB_JOBS[name as keyof typeof GITHUB_JOBS];
    expect(originOf(job), name).toEqual(origin);
    const asked = isOfFork(githubEnv(job), () => JSON.stringify(job.payload));
    expect({ name, ofFork: asked }).toEqual({ name, ofFork });
    const fromStranger = isFromStranger(githubEnv(job), () => JSON.stringify(job.payload));
    expect({ name, fromStranger }).toEqual({ name, fromStranger: ofFork });
  }
  // Anybody may start these events, and they do not say what is checked out.
  for (const event of ['issue_comment', 'issues', 'discussion_comment', 'watch', 'check_run', 'a new one', ''])
    expect(isFromStranger(githubEnv({ ...GITHUB_JOBS.dispatch, event }), () => '{}')).toBe(true);
  expect(githubOrigin({ ...githubEnv(GITHUB_JOBS.push), GITHUB_ACTIONS: undefined }, () => '{}')).toBeNull();
});

test('an event that cannot be read leaves what the variables say, and a pull request is then that of a stranger', () => {
  const env = githubEnv(GITHUB_JOBS.pullRequest);
  for (const content of ['', '{', 'null', '[]', '{"pull_request": 7}']) {
    const { url, repository } = ours;
    expect(githubOrigin(env, () => content)).toEqual({ url, repository, ref: pull.ref, commit: 'f'.repeat(40) });
    expect(isOfFork(env, () => content)).toBe(true);
  }
  const missing = () => {
    throw new Error('ENOENT');
  };
  expect(githubOrigin(env, missing)).toMatchObject({ ref: pull.ref });
});

test('an origin is valid whatever the event says, and hostile text loses what is not valid', () => {
  const hostile = {
    ...GITHUB_JOBS.pullRequest,
    payload: {
      pull_request: {
        number: -3,
        title: `a\u001b]52;c;eA==\u0007\u202eb\r\n${'😀'.repeat(600)}`,
        user: { login: '\u0000' },
        head: { sha: 'HEAD', ref: 'a\nb', repo: { full_name: '../../x y' } },
      },
    },
  };
  expect(originOf(hostile, { GITHUB_SERVER_URL: 'http://me:secret@ghe.example.com' })).toEqual({
    ref: 'refs/pull/12/merge',
    message: `a]52;c;eA==b\n${'😀'.repeat(493)}`,
  });
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom('refs/heads/x', 'refs/tags/', HEAD),
  );
  const commit = fc.record({ message: text, author: fc.record({ name: text }) });
  const payload = fc.oneof(
    fc.record({ head_commit: commit }),
    fc.record({ merge_group: fc.record({ head_sha: text, head_ref: text, head_commit: commit }) }),
    fc.record({
      pull_request: fc.record({
        number: fc.double(),
        title: text,
        head: fc.record({ sha: text, ref: text, repo: fc.record({ full_name: text }) }),
      }),
    }),
  );
  fc.assert(
    fc.property(payload, text, text, (fields, ref, server) => {
      const env = { ...githubEnv(GITHUB_JOBS.push), GITHUB_REF: ref, GITHUB_SERVER_URL: server };
      expect(Origin.safeParse(githubOrigin(env, () => JSON.stringify(fields))).error).toBeUndefined();
    }),
  );
});
