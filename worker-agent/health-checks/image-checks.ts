/**
 * Checks that the base image has all that `vm-image/` puts into it. Only `doctor` runs this check, in its
 * clone, because it takes too long to run before each build.
 */
import { z } from 'zod';
import { verifyImage } from '../guest/commands.ts';
import { parseJson, type VmCheckContext } from './ask-vm.ts';
import { type HealthCheck, pass, warn } from './run-checks.ts';

const TIMEOUT_MS = 300_000;
const SHOWN_MAX = 5;

/** The output of `tartbeat-verify --json`. */
const Verified = z.object({
  ok: z.boolean(),
  macos: z.string().default('unknown'),
  checks: z
    .array(z.object({ id: z.string().max(64), status: z.string(), detail: z.string(), fix: z.string().nullable() }))
    .max(200),
});

export const IMAGE_CHECKS: readonly HealthCheck<VmCheckContext>[] = [
  {
    id: 'image_verified',
    title: 'Base image has what builds need',
    why: "This is the image's own check. It looks at the monitor, SSH, Xcode and its licence, Node, eas-cli, fastlane, CocoaPods, sleep and updates, and the packet filter.",
    blocking: false,
    dependsOn: ['guest_scripts'],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run `expo-worker base-image --force`. It repairs what is missing and takes a new snapshot.',
    async run({ vm }, signal) {
      const { stdout } = await vm.ssh.exec(verifyImage(), { timeoutMs: TIMEOUT_MS, signal });
      const text = stdout.toString('utf8').trim();
      if (text === '')
        return { status: 'skipped', detail: 'the image has no tartbeat-verify: it was not made by vm-image/' };
      const parsed = Verified.safeParse(parseJson(text));
      if (!parsed.success) return warn('tartbeat-verify printed something else than its report');
      const { ok, macos, checks } = parsed.data;
      const failed = checks.filter(({ status }) => status === 'fail');
      if (ok && failed.length === 0) return pass(`macOS ${macos}, ${checks.length} checks`);
      const shown = failed.slice(0, SHOWN_MAX);
      const more = failed.length > SHOWN_MAX ? `; and ${failed.length - SHOWN_MAX} more` : '';
      return warn(
        shown.map(({ id, detail }) => `${id}: ${detail}`).join('; ') + more,
        shown.map(({ id, fix }) => `${id}: ${fix ?? 'run `tartbeat-verify` in the VM'}`).join('; '),
      );
    },
  },
];
