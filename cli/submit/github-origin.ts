/**
 * Says where the source of a build comes from, by the event that a job of GitHub Actions runs for. The
 * checkout of a pull request is a merge commit that GitHub made, so it does not count here. Pure except for
 * `readFile`.
 *
 * Invariant: the controller accepts each field. A field that is not valid is left out.
 */
import { asLine, ORIGIN_MESSAGE_MAX, ORIGIN_NAME_MAX, Origin } from '#contract';
import { type Environment, type GithubEvent, githubEvent, type ReadFile } from './github-event.ts';

const MESSAGE_LINES_MAX = 10;

/** Null: this is no job of GitHub Actions. */
export function githubOrigin(env: Environment, readFile: ReadFile): Origin | null {
  const event = githubEvent(env, readFile);
  if (!event) return null;
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: here, GITHUB_RUN_ID: run, GITHUB_REF: ref } = env;
  const { repository = here, message, author, ...found } = sourceOf(env, event);
  return validFields({
    ...found,
    ref,
    repository: server && repository && `${hostOf(server)}/${repository}`,
    message: message === undefined ? undefined : firstLines(message),
    author: author === undefined ? undefined : asLine(author, ORIGIN_NAME_MAX),
    url: server && here && run && `${server}/${here}/actions/runs/${run}`,
  });
}

/** The source as the event describes it. `repository` has no host. */
interface Found {
  repository?: string | undefined;
  branch?: string | undefined;
  tag?: string | undefined;
  commit?: string | undefined;
  pullRequest?: number | undefined;
  message?: string | undefined;
  author?: string | undefined;
}

function sourceOf(env: Environment, event: GithubEvent): Found {
  const { pull_request: pull, merge_group: group, workflow_run: run } = event;
  const about = (commit: GithubEvent['head_commit']) => ({ message: commit?.message, author: commit?.author?.name });
  if (pull) {
    const { number, title, user, head } = pull;
    // A deleted fork has no repository any more. The repository of the pull request never had its branch.
    const from = { repository: head?.repo?.full_name ?? '', branch: head?.ref, commit: head?.sha };
    return { ...from, pullRequest: number, message: title, author: user?.login };
  }
  if (group)
    return { commit: group.head_sha, branch: afterPrefix(group.head_ref, BRANCHES), ...about(group.head_commit) };
  if (run) {
    const { head_repository: repository, head_branch: branch, head_sha: commit } = run;
    return { repository: repository?.full_name ?? '', branch, commit, ...about(run.head_commit) };
  }
  const { GITHUB_REF: ref, GITHUB_SHA: commit } = env;
  return {
    commit,
    branch: afterPrefix(ref, BRANCHES),
    tag: afterPrefix(ref, TAGS),
    ...about(event.head_commit),
  };
}

const BRANCHES = 'refs/heads/';
const TAGS = 'refs/tags/';

const afterPrefix = (ref: string | undefined, prefix: string): string | undefined =>
  ref?.startsWith(prefix) ? ref.slice(prefix.length) : undefined;

const hostOf = (server: string): string => (URL.canParse(server) ? new URL(server).host : '');

function firstLines(message: string): string {
  const kept: string[] = [];
  let room = ORIGIN_MESSAGE_MAX;
  for (const line of message.split(/\r?\n/).slice(0, MESSAGE_LINES_MAX)) {
    if (room <= 0) break;
    const clean = asLine(line, room) ?? '';
    kept.push(clean);
    room -= clean.length + 1;
  }
  return kept.join('\n').trim();
}

function validFields(fields: Record<string, unknown>): Origin {
  const valid = Object.entries(Origin.shape).flatMap(([name, schema]) => {
    const { success, data } = schema.safeParse(fields[name]);
    return success && data !== undefined && data !== '' ? [[name, data]] : [];
  });
  return Object.fromEntries(valid);
}
