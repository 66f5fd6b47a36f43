import { expect, test } from 'vitest';
import { shorterNames } from '../../../worker-agent/files/artifact-fetch.ts';

test('artifacts of a profile have short names, but never the name of another', () => {
  const short = (...names: string[]) => shorterNames(names, 'tartbeat-artifacts/');
  expect(short('tartbeat-artifacts/App.ipa', 'dist/web.zip')).toEqual(['App.ipa', 'dist/web.zip']);
  expect(short('App.ipa', 'tartbeat-artifacts/App.ipa')).toEqual(['App.ipa', 'tartbeat-artifacts/App.ipa']);
  expect(short('apps/tartbeat-artifacts/a')).toEqual(['apps/tartbeat-artifacts/a']);
  expect(shorterNames(['tartbeat-artifacts/a'], '')).toEqual(['tartbeat-artifacts/a']);
});
