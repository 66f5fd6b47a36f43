/** Says no as App Store Connect does, in its own words where they are known. */

type Said = readonly [status: number, code: string, title: string, detail: string];

export const APPLE_REFUSALS = {
  unauthenticated: [
    401,
    'NOT_AUTHORIZED',
    'Authentication credentials are missing or invalid.',
    'Provide a properly configured and signed bearer token, and make sure that it has not expired.',
  ],
  role: [
    403,
    'FORBIDDEN_ERROR',
    'This request is forbidden for security reasons',
    'The API key in use does not allow this request',
  ],
  agreement: [
    403,
    'FORBIDDEN.REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED',
    'A required agreement is missing or has expired.',
    'This request requires an in-effect agreement that has not been signed or has expired.',
  ],
  not_found: [404, 'NOT_FOUND', 'The specified resource does not exist', 'There is no resource with this id.'],
  duplicate: [
    409,
    'ENTITY_ERROR.ATTRIBUTE.INVALID.DUPLICATE',
    'The provided entity includes an attribute with a value that has already been used',
    'The bundle version must be higher than the previously uploaded version.',
  ],
  state: [409, 'STATE_ERROR', 'The request cannot be fulfilled', 'The resource is in another state.'],
  internal_group: [
    422,
    'ENTITY_UNPROCESSABLE',
    'Builds cannot be assigned to this internal group.',
    'Cannot add internal group to a build.',
  ],
  checksums: [
    409,
    'ENTITY_ERROR.ATTRIBUTE.INVALID',
    'An attribute value has invalid characters',
    'The attribute sourceFileChecksums is invalid.',
  ],
} as const satisfies Record<string, Said>;

export type AppleRefusalName = keyof typeof APPLE_REFUSALS;

export class Refused extends Error {
  readonly status: number;
  readonly body: object;

  constructor(name: AppleRefusalName) {
    super(name);
    const [status, code, title, detail] = APPLE_REFUSALS[name];
    this.status = status;
    this.body = { errors: [{ id: crypto.randomUUID(), status: String(status), code, title, detail }] };
  }
}

/** The messages of processing about an .ipa, by code. */
export const PROCESSING_ERRORS: Record<string, string> = {
  '90189': "Redundant Binary Upload. You've already uploaded a build with build number '7' for version '1.2.0'.",
  '90062': 'The value for key CFBundleShortVersionString must contain a higher version than the approved one [1.2.0].',
  '90478': 'The train version is lower than that of the previously approved version.',
  '90186': "Invalid Pre-Release Train. The train version '1.2.0' is closed for new build submissions",
  '90054': 'The bundle identifier cannot be changed from the current value.',
  '90055': 'The bundle identifier is different from that of the app.',
  '90683': 'Missing purpose string in Info.plist: NSCameraUsageDescription.',
  '90725': 'SDK version issue. This app must be built with the iOS 26 SDK or later, included in Xcode 26 or later.',
  '90334': 'Invalid Code Signature Identifier.',
};
