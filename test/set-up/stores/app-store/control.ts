/** Defines what a test may tell the stand-in of App Store Connect, and what it may ask it. */

/** The purpose of a request. Faults name it. */
export type AppleOperation =
  | 'apps'
  | 'app'
  | 'versions'
  | 'builds'
  | 'build'
  | 'uploads'
  | 'upload'
  | 'create'
  | 'delete'
  | 'files'
  | 'file'
  | 'reserve'
  | 'chunk'
  | 'commit'
  | 'localizations'
  | 'localize'
  | 'groups'
  | 'add';

export type AppleAct =
  /** Do it, then cut the connection. */
  | { kind: 'lose' }
  /** Cut the connection before it is done: in the middle of the bytes, if there are some. */
  | { kind: 'cut' }
  | { kind: 'status'; status: number; retryAfter?: string }
  /** One of APPLE_REFUSALS. */
  | { kind: 'refuse'; refusal: string }
  /** Do it, and answer late. */
  | { kind: 'slow'; delayMs: number }
  | { kind: 'redirect'; location: string }
  /** Answer something that is no JSON. */
  | { kind: 'garble' }
  /** Of `reserve`, `files`: this host in the addresses for the chunks. */
  | { kind: 'address'; origin: string }
  /** Of `files`: no addresses. */
  | { kind: 'hide' }
  /** Of `chunk`: the addresses of the file expire. New ones are given. */
  | { kind: 'expire' }
  /** Of `chunk`: keep other bytes than those that came. */
  | { kind: 'damage' };

export interface AppleFault {
  on: AppleOperation;
  act: AppleAct;
  /** How many requests of the operation pass before the fault. */
  after?: number;
  /** How many requests meet it. Left out: one. */
  times?: number;
}

export interface AppleBuild {
  version: string;
  buildNumber: string;
  processingState?: string;
  /** The id of its upload. Left out: Apple does not say it. */
  upload?: string;
}

export interface AppleAppOptions {
  bundleId: string;
  builds?: AppleBuild[];
  versions?: { version: string; state: string }[];
  groups?: { name: string; allBuilds?: boolean }[];
  /** Bytes of a chunk. Left out: 64 KiB. */
  partBytes?: number;
  /** How often a client asks for the state of an upload until it is processed. Left out: once. */
  polls?: number;
  /** The codes of the errors with which processing ends. */
  errors?: string[];
  /** The state of the processed build. Left out: VALID. */
  processingState?: string;
  usesNonExemptEncryption?: boolean | null;
}

export interface AppleAccountOptions {
  /** Left out: App Manager. */
  role?: 'APP_MANAGER' | 'DEVELOPER';
  /** A key without an issuer. */
  individual?: boolean;
  /** Every token that is limited to a request is refused. */
  refusesScopes?: boolean;
  /** The id of another key of the same team: this one reaches the same apps, and meets the same faults. */
  team?: string;
}

export interface AppleKey {
  keyId: string;
  issuerId: string | null;
  /** The text of AuthKey_*.p8. */
  privateKey: string;
}

export interface AppleUpload {
  id: string;
  version: string;
  buildNumber: string;
  state: string;
  /** The hash of the whole file, once it was committed. */
  sha256: string | null;
}

export interface AppleAppState {
  builds: {
    id: string;
    version: string;
    buildNumber: string;
    upload: string | null;
    groups: string[];
    whatToTest: Record<string, string>;
  }[];
  uploads: AppleUpload[];
  /** How often each operation was asked. */
  asked: Record<string, number>;
}

export interface AppleRequest {
  operation: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  /** The body of a request to the API. */
  body: string;
}

/** Each method stands for a `POST /_control` with `{"call": name, "with": [arguments]}`. */
export interface AppleControl {
  account(options?: AppleAccountOptions): Promise<AppleKey>;
  /** An app of this account. Answers its numeric id. */
  app(keyId: string, options: AppleAppOptions): Promise<string>;
  change(ascAppId: string, options: Partial<AppleAppOptions>): Promise<void>;
  /** A build that somebody else has uploaded. */
  addBuild(ascAppId: string, build: AppleBuild): Promise<void>;
  /** An upload that somebody else has begun. Answers its id. */
  addUpload(ascAppId: string, version: string, buildNumber: string): Promise<string>;
  /** Somebody deletes all uploads of the app by hand. */
  deleteUploads(ascAppId: string): Promise<void>;
  revoke(keyId: string): Promise<void>;
  /** `scope` is the id of the first key of a team. */
  fault(scope: string, fault: AppleFault): Promise<void>;
  /** Requests of this key fail at random, in this share of them. 0 ends it. */
  unrest(scope: string, seed: number, share: number): Promise<void>;
  state(ascAppId: string): Promise<AppleAppState>;
  requests(): Promise<AppleRequest[]>;
  /** The forbidden things that clients did. */
  violations(): Promise<string[]>;
}
