/** Defines where the source of a build comes from, as its submitter says. Nothing trusts it. */
import { z } from 'zod';
import { line, lines } from '../fields.ts';
import { ORIGIN_MESSAGE_MAX, ORIGIN_NAME_MAX } from '../sizes.ts';

export const PULL_REQUEST_MAX = 2_000_000_000;

/** A link that a person may follow: https alone, without credentials. */
const link = z
  .url({ protocol: /^https$/, error: 'must be an https address' })
  .max(2_000)
  .refine((url) => line(2_000).safeParse(url).success, 'must not contain control or direction characters')
  .refine((url) => !/^https:\/\/[^/]*@/i.test(url), 'must not contain credentials');

const name = line(ORIGIN_NAME_MAX);

/** Host and path, such as `github.com/acme/app`. */
export const Repository = z
  .string()
  .max(ORIGIN_NAME_MAX)
  .regex(/^[A-Za-z0-9.-]+(:\d+)?(\/[A-Za-z0-9._~-]+)+$/, 'must be a host and a path, such as github.com/acme/app');

export const Branch = name;

export const Commit = z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/, 'must be 40 or 64 lower-case hex digits');

export const PullRequest = z.number().int().min(1).max(PULL_REQUEST_MAX);

export const Origin = z.strictObject({
  repository: Repository.optional(),
  ref: name.optional(),
  branch: Branch.optional(),
  tag: name.optional(),
  /** Of a pull request: its head, not the merge commit that the CI has made. */
  commit: Commit.optional(),
  pullRequest: PullRequest.optional(),
  /** How many commits lead to this one, which some projects use as a build number. */
  commitCount: z.number().int().min(0).max(1_000_000_000).optional(),
  author: name.optional(),
  message: lines(ORIGIN_MESSAGE_MAX).optional(),
  /** Whether the source has changes that the commit does not have. */
  dirty: z.boolean().optional(),
  /** The address of the CI run. */
  url: link.optional(),
});
export type Origin = z.infer<typeof Origin>;

/** The fields that no filter uses. */
export type OriginDetail = Pick<Origin, 'ref' | 'tag' | 'author' | 'message' | 'dirty' | 'url' | 'commitCount'>;
