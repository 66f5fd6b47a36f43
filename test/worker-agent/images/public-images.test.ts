import { expect, test } from 'vitest';
import { readPublicImages, sourceOf } from '../../../worker-agent/images/public-images.ts';

const LOCAL = new Map([['mine', 90]]);

test('every public image has a reference and sizes', () => {
  const images = readPublicImages();
  expect(images.length).toBeGreaterThan(3);
  for (const { reference, size } of images) {
    expect(reference).toMatch(/^ghcr\.io\/[a-z0-9/-]+(@sha256:[0-9a-f]{64}|:[a-z0-9.]+)$/);
    expect(size.downloadGb).toBeGreaterThan(1);
    expect(size.unpackedGb).toBeGreaterThan(size.downloadGb);
  }
});

test('what --from means: nothing, a name, a reference, a VM of this Mac, or something unknown', () => {
  const images = readPublicImages();
  const [first] = images;
  const base = images.find(({ hasXcode }) => !hasXcode)!;
  expect(sourceOf({ ownXcode: false }, LOCAL)).toMatchObject({ words: first!.name, size: first!.size });
  for (const from of [base.name, base.reference])
    expect(sourceOf({ from, ownXcode: false }, LOCAL)).toMatchObject({ reference: base.reference, size: base.size });
  expect(sourceOf({ from: 'mine', ownXcode: false }, LOCAL)).toEqual({
    reference: null,
    words: 'the VM mine',
    size: { downloadGb: 0, unpackedGb: 90 },
    isSizeKnown: true,
  });
  const unknown = sourceOf({ from: 'ghcr.io/acme/builder:1', ownXcode: false }, LOCAL);
  expect(unknown).toMatchObject({ reference: 'ghcr.io/acme/builder:1', isSizeKnown: false });
  expect(unknown.size.unpackedGb).toBe(Math.max(...images.map(({ size }) => size.unpackedGb)));
});

test('an Xcode of one’s own is put on the first image without one', () => {
  const base = readPublicImages().find(({ hasXcode }) => !hasXcode)!;
  expect(sourceOf({ ownXcode: true }, LOCAL)).toMatchObject({
    words: base.name,
    size: { downloadGb: base.size.downloadGb, unpackedGb: base.size.unpackedGb + 30 },
  });
});
