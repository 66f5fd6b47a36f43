/** Says where a build of a profile leaves what it has made, and how the agent collects it. */
import { ArtifactGlob } from '#contract';

/** Where the guest scripts put what a build of a profile has made. */
export const PROFILE_ARTIFACTS = 'tartbeat-artifacts';
export const PROFILE_GLOB = ArtifactGlob.parse({ glob: `${PROFILE_ARTIFACTS}/**`, required: true, onFailure: true });
