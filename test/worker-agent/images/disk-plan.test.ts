import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type DiskPlan,
  type PlanRequest,
  planDisk,
  planInWords,
  roomForClone,
  roomForFetch,
  vmsFor,
} from '../../../worker-agent/images/disk-plan.ts';

const TAHOE = { downloadGb: 62.1, unpackedGb: 81 };
const one = (freeGb: number, more: Partial<PlanRequest> = {}): PlanRequest => ({
  freeGb,
  images: [{ name: 'default', size: TAHOE, present: 'nothing' }],
  slots: 2,
  growthGb: 15,
  ...more,
});

const requests = fc.record({
  freeGb: fc.double({ min: 0, max: 4_000, noNaN: true }),
  images: fc.array(
    fc.record({
      name: fc.constant('x'),
      size: fc.record({
        downloadGb: fc.double({ min: 1, max: 100, noNaN: true }),
        unpackedGb: fc.double({ min: 1, max: 200, noNaN: true }),
      }),
      present: fc.constantFrom('nothing' as const, 'unpacked' as const, 'provisioned' as const),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  slots: fc.integer({ min: 1, max: 2 }),
  growthGb: fc.double({ min: 1, max: 60, noNaN: true }),
});

/**
 * The most that the disk ever holds while this plan is carried out: each image is pulled, cloned and
 * provisioned, then builds run, and then each image is rolled out anew. A copy shares no block with another.
 */
function peakOf({ images, growthGb }: PlanRequest, plan: DiskPlan): number {
  let heldGb = 0;
  let peakGb = 0;
  const hold = (gb: number) => {
    heldGb += gb;
    peakGb = Math.max(peakGb, heldGb);
  };
  for (const { size, present } of images) {
    if (present === 'nothing') hold(size.unpackedGb);
    if (plan.keepPulled) hold(size.unpackedGb);
    if (present !== 'provisioned') hold(12);
  }
  hold(plan.slots * growthGb);
  if (plan.keepPrevious) for (const { size } of images) hold(size.unpackedGb + 12);
  return peakGb;
}

test('a plan that fits never needs more than the disk has free, whatever is carried out of it', () => {
  fc.assert(
    fc.property(requests, (request) => {
      const { fits, plan } = planDisk(request);
      expect(fits).toBe(plan.needGb <= request.freeGb);
      if (fits) expect(peakOf(request, plan)).toBeLessThanOrEqual(request.freeGb);
      expect(plan.slots).toBeLessThanOrEqual(request.slots);
    }),
  );
});

test('more room never gives a plan that keeps less', () => {
  const worth = (request: PlanRequest) => {
    const { fits, plan } = planDisk(request);
    return fits ? plan.slots * 4 + Number(plan.keepPulled) * 2 + Number(plan.keepPrevious) : 0;
  };
  fc.assert(
    fc.property(requests, fc.double({ min: 0, max: 500, noNaN: true }), (request, moreGb) => {
      expect(worth({ ...request, freeGb: request.freeGb + moreGb })).toBeGreaterThanOrEqual(worth(request));
    }),
  );
});

test.each([
  [467, { keepPulled: true, keepPrevious: true, slots: 2 }],
  [260, { keepPulled: true, keepPrevious: false, slots: 2 }],
  [211, { keepPulled: false, keepPrevious: false, slots: 2 }],
  [130, { keepPulled: false, keepPrevious: false, slots: 1 }],
])('with %i GB free the plan is %o', (freeGb, kept) => {
  expect(planDisk(one(freeGb))).toMatchObject({ fits: true, plan: kept });
});

test('what does not fit is refused with figures and with what to do', () => {
  const result = planDisk(one(100));
  expect(result).toMatchObject({ fits: false, plan: { slots: 1, keepPulled: false } });
  expect(planInWords(result, 100)).toEqual([
    'Download: 63 GB. Tart unpacks it as it comes.',
    'On the disk:',
    '     81 GB  the image, unpacked',
    '     12 GB  what provisioning adds',
    '     15 GB  1 clone that grows',
    '     10 GB  caches of builds',
    '     10 GB  left free for macOS',
    '    128 GB  needed, and 100 GB are free',
    'This does not fit: even with one build at a time and nothing kept it needs 128 GB, and 100 GB are free. ' +
      'Free 28 GB, or let Tart keep its VMs on an external APFS disk (tartHome in the config).',
  ]);
});

test('the plan tells what is downloaded now from what the other images of the config will need', () => {
  const first = { name: 'xcode-26', size: TAHOE, present: 'nothing' as const };
  const words = (images: PlanRequest['images']) => planInWords(planDisk(one(900, { images })), 900);
  const both = words([first, { ...first, name: 'xcode-27', isLater: true }]);
  expect(both[0]).toBe('Download now: 63 GB (125 GB until all 2 images of the config are there).');
  expect(both[1]).toBe('On the disk, with all images of the config:');
  const second = words([
    { ...first, present: 'unpacked' },
    { ...first, isLater: true },
  ]);
  expect(second[0]).toBe('Download now: nothing (63 GB until all 2 images of the config are there).');
});

test('what is on the disk already is neither downloaded nor needed again', () => {
  const made = planDisk(one(250, { images: [{ name: 'default', size: TAHOE, present: 'unpacked' }] }));
  expect(made).toMatchObject({ fits: true, plan: { keepPrevious: true, downloadGb: 0, presentGb: 81 } });
});

test('a fetch leaves room for the clones that run and the next, and a clone for what the others may grow by', () => {
  expect(roomForFetch({ unpackedGb: 93, clonesGb: roomForClone(15, [15]) })).toBe(121);
  // During the download and after it, the next build still gets its clone.
  expect(roomForFetch({ unpackedGb: 93, clonesGb: roomForClone(15, [4]) }) - 93).toBeGreaterThan(roomForClone(15, [4]));
  expect(roomForClone(15, [])).toBe(15);
  expect(roomForClone(15, [4])).toBe(26);
  expect(roomForClone(15, [40])).toBe(15);
});

test.each([
  [8, 0],
  [16, 1],
  [24, 2],
  [64, 2],
])('a Mac with %i GB of memory runs %i VMs of 8 GB at once', (memoryGb, vms) => {
  expect(vmsFor(memoryGb, 8)).toBe(vms);
});
