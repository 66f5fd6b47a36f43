/** Decides which artifacts can be installed from a page, and how. Pure. */
import type { Artifact, ArtifactApp } from '#contract';
import { listed, NO_ARTIFACTS, namesOf } from '../files/artifact-words.ts';
import { type Refusal, refusal } from '../refusals.ts';

/** The offer of the page: the button of iOS, a download for Android, or a download for `xcrun simctl`. */
export type Way = 'ios' | 'android' | 'simulator';

type Decided = { ok: true; way: Way } | { ok: false; why: string };

/** `why` is the end of a sentence that begins with the name of the artifact. */
export function wayOf(app: ArtifactApp | null): Decided {
  if (!app) return not('is no app that the agent could read');
  switch (app.kind) {
    case 'ipa':
      return wayOfIpa(app);
    case 'app':
      return app.signing === 'simulator'
        ? { ok: true, way: 'simulator' }
        : not('is an .app that is not for the simulator; a device takes it as an .ipa');
    case 'apk':
      return app.signing === 'unsigned'
        ? not('is not signed, and Android installs no such .apk; sign it, with the debug key at least')
        : { ok: true, way: 'android' };
    case 'aab':
      return not('is an .aab, which only Google Play installs; build an .apk ("buildType": "apk" in eas.json)');
  }
}

function wayOfIpa({ signing, id }: ArtifactApp): Decided {
  if (signing === 'app-store')
    return not(
      'is signed for the App Store, so devices take it from TestFlight or the App Store alone; ' +
        'build it with "distribution": "internal"',
    );
  if (signing !== 'ad-hoc' && signing !== 'development' && signing !== 'enterprise')
    return not(`is not signed for devices (${signing ?? 'its signature is not known'})`);
  return id === null ? not('does not say its bundle id, which iOS asks for') : { ok: true, way: 'ios' };
}

const not = (why: string): Decided => ({ ok: false, why });

/**
 * The artifact of this name, or the only one that can be installed. Refused: `not_installable`, with the
 * reason for each artifact.
 */
export function installable(
  all: readonly Artifact[],
  attempt: number,
  asked: string | undefined,
): { ok: true; artifact: Artifact } | Refusal {
  const ofAttempt = all.filter((one) => one.attempt === attempt);
  if (ofAttempt.length === 0) return unfit(NO_ARTIFACTS);
  if (asked !== undefined) {
    const artifact = ofAttempt.find(({ name }) => name === asked);
    if (!artifact) return unfit(`artifact: the build has no ${asked}; it has ${namesOf(ofAttempt)}`);
    const decided = wayOf(artifact.app);
    return decided.ok ? { ok: true, artifact } : unfit(`artifact: ${asked} ${decided.why}`);
  }
  const fit = ofAttempt.filter(({ app }) => wayOf(app).ok);
  const [first, second] = fit;
  if (second) return unfit(`artifact: ${namesOf(fit)} can all be installed; name one`);
  if (first) return { ok: true, artifact: first };
  const reasons = ofAttempt.flatMap(({ name, app }) => {
    const decided = app ? wayOf(app) : null;
    return decided?.ok === false ? [`${name} ${decided.why}`] : [];
  });
  if (reasons.length > 0) return unfit(`no artifact can be installed: ${listed(reasons)}`);
  return unfit(`no artifact can be installed: ${namesOf(ofAttempt)} are no apps that the agent could read`);
}

const unfit = (message: string): Refusal => refusal('not_installable', message);
