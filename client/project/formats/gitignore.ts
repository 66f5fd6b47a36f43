/**
 * Says whether a .gitignore or an .easignore excludes a path. Pure.
 *
 * Patterns are compared character by character and never become regular expressions, because a pattern from a
 * stranger's project could keep a regular expression busy for hours.
 */

/** The rest of a longer file is ignored. */
const MAX_CHARACTERS = 64 * 1024;
const RULES_MAX = 5_000;
const PATH_MAX_CHARACTERS = 1024;
/** Deeper paths count as not ignored. */
const DEPTH_MAX = 30;

/** A character, a set of them, any one, or any number of any. */
type Token = string | { in: string; not: boolean } | 'ANY' | 'MANY';
/** `null` stands for `**`. */
type Segment = readonly Token[] | null;

interface Rule {
  segments: readonly Segment[];
  isNegated: boolean;
  foldersOnly: boolean;
}

export type IgnoreRules = readonly Rule[];

export function ignoreRules(text: string): IgnoreRules {
  return text.slice(0, MAX_CHARACTERS).split(/\r?\n/).flatMap(ruleOf).slice(0, RULES_MAX);
}

/** `path` is relative to the folder of the file with the rules. */
export function isIgnored(rules: IgnoreRules, path: string): boolean {
  // A file in an ignored folder is ignored, also if a later rule keeps it.
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1))
    if (ruleOn(rules, path.slice(0, end), true) === 'ignored') return true;
  return ruleOn(rules, path, false) === 'ignored';
}

/**
 * The verdict of the last rule that matches this path, or null if none matches. It does not check the folders
 * above the path, which may be ignored.
 */
export function ruleOn(rules: IgnoreRules, path: string, isFolder: boolean): 'ignored' | 'kept' | null {
  if (path.length > PATH_MAX_CHARACTERS) return null;
  const parts = path.toLowerCase().split('/');
  if (parts.length > DEPTH_MAX) return null;
  const last = rules.findLast(({ segments, foldersOnly }) => (!foldersOnly || isFolder) && matches(segments, parts));
  if (last === undefined) return null;
  return last.isNegated ? 'kept' : 'ignored';
}

function ruleOf(line: string): Rule[] {
  let pattern = withoutTrailingSpaces(line).toLowerCase();
  if (pattern === '' || pattern.startsWith('#')) return [];
  const isNegated = pattern.startsWith('!');
  if (isNegated) pattern = pattern.slice(1);
  const foldersOnly = pattern.endsWith('/');
  if (foldersOnly) pattern = pattern.slice(0, -1);
  if (pattern === '') return [];
  const isAnchored = pattern.includes('/');
  const names = pattern.replace(/^\//, '').split('/');
  const segments = names.map((name) => (name === '**' ? null : tokensOf(name)));
  return [{ segments: isAnchored ? segments : [null, ...segments], isNegated, foldersOnly }];
}

/** A space after a backslash stays. */
function withoutTrailingSpaces(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t') && line[end - 2] !== '\\') end--;
  return line.slice(0, end);
}

function tokensOf(name: string): Token[] {
  const tokens: Token[] = [];
  for (let index = 0; index < name.length; index++) {
    const character = name[index]!;
    if (character === '*') {
      if (tokens.at(-1) !== 'MANY') tokens.push('MANY');
    } else if (character === '?') tokens.push('ANY');
    else if (character === '\\' && index + 1 < name.length) tokens.push(name[++index]!);
    else if (character === '[') {
      const end = name.indexOf(']', index + 2);
      if (end === -1) tokens.push(character);
      else {
        const not = name[index + 1] === '!' || name[index + 1] === '^';
        tokens.push({ in: spelledOut(name.slice(index + (not ? 2 : 1), end)), not });
        index = end;
      }
    } else tokens.push(character);
  }
  return tokens;
}

/** `a-e` becomes `abcde`. A range beyond ASCII stays as it is. */
function spelledOut(set: string): string {
  return set.replaceAll(/([ -~])-([ -~])/g, (_, from: string, to: string) => {
    let all = '';
    for (let code = from.charCodeAt(0); code <= to.charCodeAt(0); code++) all += String.fromCharCode(code);
    return all;
  });
}

/** Paths and names use the same search: after a mismatch, only the last `**` or `*` takes one more item. */
function matches(segments: readonly Segment[], parts: readonly string[]): boolean {
  return walk(segments.length, parts.length, {
    isMany: (at) => segments[at] === null,
    fits: (at, part) => nameMatches(segments[at]!, parts[part]!),
    // `a/**` matches everything in a, but not a itself.
    lastManyTakesOne: segments.length > 1,
  });
}

const nameMatches = (tokens: readonly Token[], name: string): boolean =>
  walk(tokens.length, name.length, {
    isMany: (at) => tokens[at] === 'MANY',
    fits: (at, index) => {
      const token = tokens[at]!;
      if (token === 'ANY') return true;
      return typeof token === 'string' ? token === name[index] : token.in.includes(name[index]!) !== token.not;
    },
    lastManyTakesOne: false,
  });

interface Walk {
  isMany(at: number): boolean;
  fits(at: number, index: number): boolean;
  lastManyTakesOne: boolean;
}

function walk(patterns: number, items: number, { isMany, fits, lastManyTakesOne }: Walk): boolean {
  let pattern = 0;
  let item = 0;
  let many = -1;
  let takenUpTo = 0;
  while (item < items) {
    if (pattern < patterns && isMany(pattern)) {
      many = pattern++;
      takenUpTo = item;
      if (lastManyTakesOne && pattern === patterns) return true;
    } else if (pattern < patterns && fits(pattern, item)) {
      pattern++;
      item++;
    } else if (many !== -1) {
      pattern = many + 1;
      item = ++takenUpTo;
    } else return false;
  }
  while (pattern < patterns && isMany(pattern) && !(lastManyTakesOne && pattern === patterns - 1)) pattern++;
  return pattern === patterns;
}
