/**
 * Keeps the apps of the stand-in of Google Play, and their edits. As at Google, a new edit ends the account's
 * former one of the app, a commit ends all others, and nothing of an edit shows before its commit.
 */
import { randomBytes } from 'node:crypto';
import type { PlayAppOptions, PlayAppState, PlayFile, PlayRelease } from './control.ts';
import { refused } from './refusals.ts';

const TRACKS = ['production', 'beta', 'alpha', 'internal'];

const EDIT_SECONDS = 3600;

export interface Edit {
  id: string;
  app: PlayApp;
  account: string;
  ended: 'deleted' | 'expired' | 'committed' | null;
  uploaded: PlayFile[];
  tracks: Record<string, PlayRelease[]>;
}

export class PlayApp {
  readonly name: string;
  readonly asked: Record<string, number> = {};
  readonly #files = new Map<string, number>();
  readonly #edits = new Map<string, Edit>();
  readonly #commits: Record<string, number> = {};
  readonly #options: PlayAppOptions;
  readonly #violations: string[];
  #library: PlayFile[];
  #tracks: Record<string, PlayRelease[]>;
  #notSentForReview: boolean | null = null;

  constructor(name: string, options: PlayAppOptions, violations: string[]) {
    this.name = name;
    this.#options = options;
    this.#violations = violations;
    this.#library = [...(options.library ?? [])];
    this.#tracks = { ...Object.fromEntries(TRACKS.map((track) => [track, []])), ...options.tracks };
  }

  announce(sha256: string, versionCode: number): void {
    this.#files.set(sha256, versionCode);
  }

  insert(account: string): object {
    for (const edit of this.#edits.values()) if (edit.account === account) edit.ended ??= 'deleted';
    const id = String(randomBytes(8).readBigUInt64BE());
    this.#edits.set(id, { id, app: this, account, ended: null, uploaded: [], tracks: structuredClone(this.#tracks) });
    return this.#shown(id);
  }

  edit(id: string, account: string): Edit {
    const edit = this.#edits.get(id);
    if (edit?.account !== account) throw refused('edit_not_found');
    return this.usable(edit);
  }

  usable(edit: Edit): Edit {
    if (edit.ended !== null) throw refused(`edit_${edit.ended}`);
    return edit;
  }

  delete(edit: Edit): void {
    edit.ended = 'deleted';
  }

  endEdits(as: 'deleted' | 'expired'): void {
    for (const edit of this.#edits.values()) edit.ended ??= as;
  }

  files(edit: Edit, kind: PlayFile['kind']): object[] {
    return [...this.#library, ...edit.uploaded].filter((file) => file.kind === kind).map(shownFile);
  }

  /** Ends an upload whose bytes have all come. */
  upload(edit: Edit, kind: PlayFile['kind'], sha256: string, kept: string): object {
    const versionCode = this.#files.get(sha256) ?? this.#options.versionCode;
    if (versionCode === undefined) throw refused('no_bundle');
    const other = [...this.#library, ...edit.uploaded].find((file) => file.versionCode === versionCode);
    if (other) throw refused(other.kind === kind ? 'version_code_used' : 'bundle_of_apk');
    const file = { versionCode, kind, sha256: kept };
    edit.uploaded.push(file);
    return shownFile(file);
  }

  track(edit: Edit, track: string): object {
    const releases = edit.tracks[track];
    if (!releases) throw refused('track_not_found');
    return { track, ...(releases.length > 0 && { releases }) };
  }

  tracks(edit: Edit): object {
    return {
      kind: 'androidpublisher#tracksListResponse',
      tracks: Object.keys(edit.tracks).map((t) => this.track(edit, t)),
    };
  }

  putTrack(edit: Edit, track: string, body: { track?: string; releases?: PlayRelease[] }): object {
    if (!edit.tracks[track]) throw refused('track_not_found');
    if (body.track !== undefined && body.track !== track) this.#violations.push(`a track is called ${body.track}`);
    const [release, ...others] = body.releases ?? [];
    if (!release || others.length > 0) throw refused('no_bundle');
    this.#checkRelease(edit, release);
    if (this.#options.draftSeenAt !== 'commit') this.#checkDraft(release);
    // A release for all users takes the place of the others. Any other stands beside the one for all.
    const kept = (this.#tracks[track] ?? []).filter(
      ({ status }) => release.status !== 'completed' && status === 'completed',
    );
    edit.tracks[track] = [...kept, release];
    return this.track(edit, track);
  }

  #checkRelease(edit: Edit, { versionCodes, status, userFraction }: PlayRelease): void {
    const library = [...this.#library, ...edit.uploaded];
    for (const code of versionCodes) {
      if (typeof code !== 'string') this.#violations.push('a version code is no text');
      if (!library.some(({ versionCode }) => String(versionCode) === code)) throw refused('no_such_version');
    }
    if (userFraction === undefined) {
      if (status === 'inProgress') throw refused('fraction_missing');
      return;
    }
    if (userFraction >= 1) throw refused('fraction_too_large');
    if (status !== 'inProgress' && status !== 'halted') throw refused('fraction_not_allowed');
  }

  #checkDraft({ status }: PlayRelease): void {
    if (this.#options.draft && status !== 'draft') throw refused('draft_app');
  }

  commit(edit: Edit, notSentForReview: boolean): object {
    const changed = Object.keys(edit.tracks).filter((track) => edit.tracks[track] !== this.#tracks[track]);
    for (const track of changed) for (const release of edit.tracks[track] ?? []) this.#checkDraft(release);
    const byHand = this.#options.review === 'by-hand';
    if (byHand && !notSentForReview) throw refused('review_by_hand');
    if (!byHand && notSentForReview) throw refused('review_automatic');
    for (const file of edit.uploaded) {
      const code = String(file.versionCode);
      this.#commits[code] = (this.#commits[code] ?? 0) + 1;
      if (this.#library.some(({ versionCode }) => versionCode === file.versionCode))
        this.#violations.push(`version code ${code} of ${this.name} was committed twice`);
    }
    this.#library = [...this.#library, ...edit.uploaded];
    this.#tracks = edit.tracks;
    this.#notSentForReview = notSentForReview;
    edit.ended = 'committed';
    this.endEdits('deleted');
    return this.#shown(edit.id);
  }

  state(): PlayAppState {
    return {
      library: this.#library,
      tracks: this.#tracks,
      commits: this.#commits,
      notSentForReview: this.#notSentForReview,
      openEdits: [...this.#edits.values()].filter(({ ended }) => ended === null).length,
      asked: this.asked,
    };
  }

  #shown(id: string): object {
    return { id, expiryTimeSeconds: String(Math.floor(Date.now() / 1000) + EDIT_SECONDS) };
  }
}

function shownFile({ versionCode, kind, sha256 }: PlayFile): object {
  const hashes = { sha1: sha256.slice(0, 40), sha256 };
  return kind === 'bundles' ? { versionCode, ...hashes } : { versionCode, binary: hashes };
}
