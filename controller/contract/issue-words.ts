/** Says in plain words why a schema refuses a value. The library's own words are for programmers. Pure. */
import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** The beginnings of the library's own messages. Those of the contract already say what to do. */
const OF_LIBRARY = /^(Invalid|Too|Unrecognized) /;

const TYPES: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a text',
};

/** The end of a sentence that begins with the name of the field, such as `must be at most 100`. */
export function wordsOf(issue: Issue): string {
  if (!OF_LIBRARY.test(issue.message)) return issue.message;
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'there is no such field; is its name right?';
    case 'invalid_type':
      return issue.message.endsWith('undefined') ? 'is missing' : `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${oneOf(issue.values)}`;
    case 'too_small':
      if (issue.origin === 'string' || issue.origin === 'array')
        return issue.minimum === 1 ? 'must not be empty' : `must have at least ${issue.minimum}${UNITS[issue.origin]}`;
      return `must be at least ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${UNITS[issue.origin] ?? ''}`;
    case 'invalid_key':
      return issue.issues[0] ? `the name ${wordsOf(issue.issues[0])}` : issue.message;
    case 'invalid_union':
      if ('options' in issue && issue.options) return `must be ${oneOf(issue.options)}`;
      return issue.errors.map(([first]) => (first ? wordsOf(first) : issue.message)).join(', or ');
    default:
      return issue.message;
  }
}

const oneOf = (values: readonly unknown[]): string => values.map((value) => JSON.stringify(value)).join(' or ');

const UNITS: Record<string, string> = { array: ' entries', string: ' characters', set: ' entries' };
