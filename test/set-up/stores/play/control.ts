/** Defines what a test may tell the stand-in of Google Play, and what it may ask it. */

/** The purpose of a request. Faults name it. */
export type PlayOperation =
  | 'token'
  | 'insert'
  | 'get-edit'
  | 'delete'
  | 'validate'
  | 'list-bundles'
  | 'list-apks'
  | 'list-tracks'
  | 'get-track'
  | 'put-track'
  | 'open'
  | 'chunk'
  | 'ask'
  | 'commit';

export type PlayAct =
  /** Do it, then cut the connection. */
  | { kind: 'lose' }
  /** Cut the connection before it is done: in the middle of the bytes, if there are some. */
  | { kind: 'cut' }
  | { kind: 'status'; status: number; retryAfter?: string }
  /** A refusal in these words. */
  | { kind: 'say'; status: number; says: string }
  /** One of PLAY_REFUSALS. */
  | { kind: 'refuse'; refusal: string }
  /** Do it, and answer late. */
  | { kind: 'slow'; delayMs: number }
  | { kind: 'redirect'; location: string }
  /** Give this address, with the id of the upload after it, as the session's. */
  | { kind: 'location'; address: string }
  /** Keep other bytes than those that came. */
  | { kind: 'damage' }
  /** Forget the session. */
  | { kind: 'forget' };

export interface PlayFault {
  on: PlayOperation;
  act: PlayAct;
  /** How many requests of the operation pass before the fault. */
  after?: number;
  /** How many requests meet it. Left out: one. */
  times?: number;
}

export interface PlayRelease {
  versionCodes: string[];
  status: string;
  userFraction?: number;
}

export interface PlayFile {
  versionCode: number;
  kind: 'bundles' | 'apks';
  sha256: string;
}

export interface PlayAppState {
  library: PlayFile[];
  tracks: Record<string, PlayRelease[]>;
  /** How often a file of this version code was committed. */
  commits: Record<string, number>;
  /** The field of the last commit about the review. */
  notSentForReview: boolean | null;
  openEdits: number;
  /** How often each operation was asked. */
  asked: Record<string, number>;
}

export interface PlayRequest {
  operation: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  /** The first 16 KiB, unless the body is a part of a file. */
  body: string;
}

export interface PlayAppOptions {
  /** The app was never published. */
  draft?: boolean;
  /** The request at which Google refuses a release of a draft app. */
  draftSeenAt?: 'put-track' | 'commit';
  /** `by-hand`: changes wait in the Play Console, as after a rejection. */
  review?: 'automatic' | 'by-hand';
  /** The version code of a file that nobody has announced. */
  versionCode?: number;
  /** Files that are there. */
  library?: PlayFile[];
  tracks?: Record<string, PlayRelease[]>;
}

export interface PlayAccountOptions {
  /** The packages that the account may change. */
  apps: string[];
  /** The address in the key file, in place of Google's own. */
  tokenUri?: string;
}

/** Each method stands for a `POST /_control` with `{"call": name, "with": [arguments]}`. */
export interface PlayControl {
  /** The text of the key file of a service account. One that is there gets a further key. */
  account(email: string, options: PlayAccountOptions): Promise<string>;
  app(packageName: string, options?: PlayAppOptions): Promise<void>;
  /** Announces that the file of this hash has this version code. */
  file(packageName: string, sha256: string, versionCode: number): Promise<void>;
  /** `scope` is a package, or the e-mail address of an account for `token`. */
  fault(scope: string, fault: PlayFault): Promise<void>;
  /** Requests of this app fail at random, in this share of them. 0 ends it. */
  unrest(scope: string, seed: number, share: number): Promise<void>;
  endEdits(packageName: string, as: 'deleted' | 'expired'): Promise<void>;
  /** Revokes the key of this id, which then gets no access token. */
  revoke(keyId: string): Promise<void>;
  /** Refuses every access token of the account from now on. */
  endTokens(email: string): Promise<void>;
  state(packageName: string): Promise<PlayAppState>;
  requests(): Promise<PlayRequest[]>;
  /** The forbidden things that clients did. */
  violations(): Promise<string[]>;
}
