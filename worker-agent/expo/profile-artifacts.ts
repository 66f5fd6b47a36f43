/** Says where a build of a profile leaves its artifacts, and how the agent collects them. */
import { ArtifactGlob } from '#contract';

/** The folder in which the guest scripts put the artifacts of a build of a profile. */
export const PROFILE_ARTIFACTS = 'tartbeat-artifacts';
export const PROFILE_GLOB = ArtifactGlob.parse({ glob: `${PROFILE_ARTIFACTS}/**`, required: true, onFailure: true });
