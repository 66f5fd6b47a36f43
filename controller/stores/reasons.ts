/** Has the texts for people about each reason for which a submission fails. Pure. */
import type { SubmissionFailure, SubmissionReason } from '#contract';

type Words = Omit<SubmissionFailure, 'code' | 'message' | 'storeWords'>;

const WORDS: Record<SubmissionReason, Words> = {
  key_gone: {
    title: 'The store key no longer exists',
    explanation: 'The project has no such key for the store any more, or it cannot be opened.',
    advice:
      'An admin sets it with `PUT /api/projects/PROJECT/store-keys/NAME`. Then submit again. If the upload had ended, look first whether the store has this build: it then needs no second upload.',
  },
  key_refused: {
    title: 'The store does not accept the key',
    explanation:
      'The store answered that the key is unknown, expired or revoked. App Store Connect answers the same while an agreement is not signed.',
    advice:
      'Look at the key in App Store Connect (Users and Access, Integrations) or in the Google Cloud console. Make a new one if it is gone, and set the store key anew. For App Store Connect give the `issuerId` of a team key, and none for an individual key.',
  },
  key_not_for_app: {
    title: 'The store key is not for this app or pool',
    explanation: 'A store key lists the apps that it may upload, and the pools whose builds it may upload.',
    advice: 'An admin sets the store key anew with this app and pool, if both are meant.',
  },
  right_gone: {
    title: 'Nobody with the right asks for it any more',
    explanation:
      'The key that asked for the submission, or for a retry of the build, was revoked, has expired or does not have the right `stores` for the project and pool.',
    advice: 'Submit again with a key that has the right `stores`.',
  },
  role_missing: {
    title: 'The role of the key is too low',
    explanation: 'The store knows the key, and its role does not allow what the submission asks for.',
    advice:
      'Give the key the role that docs/stores.md names: Developer or App Manager in App Store Connect, and releases to the track in Play Console. In Play a new permission can take a day.',
  },
  agreement_missing: {
    title: 'An agreement of the developer account is not signed',
    explanation: 'The store takes no app until the account holder has accepted its newest agreements.',
    advice: 'The account holder signs them in App Store Connect (Business) or in Play Console. Then submit again.',
  },
  app_not_found: {
    title: 'The store does not know the app',
    explanation:
      'There is no app of this bundle id or package that the key can see. A store never makes one for an upload.',
    advice:
      'Make the app in App Store Connect, or upload its first version by hand in Play Console. docs/stores.md has the steps of a first release.',
  },
  artifact_gone: {
    title: 'The artifact is not kept any more',
    explanation: 'The file was deleted before it was sent whole, together with its build or because of its age.',
    advice: 'Build it anew, and submit that build.',
  },
  artifact_unsuitable: {
    title: 'The build has no artifact that can be submitted',
    explanation:
      'App Store Connect takes an .ipa that is signed for the App Store, and Play an .aab or .apk that is signed with a release key. The build has none, or has several, or has none of the name that was asked for.',
    advice:
      'If the message names artifacts, submit the build again with the right one in `artifact`. Otherwise build with a profile whose distribution is for the store, and submit that build.',
  },
  app_mismatch: {
    title: 'The artifact is another app than the submission names',
    explanation: 'The bundle id or package that is in the file is not the one that was asked for.',
    advice: 'Compare `ascAppId` and the app of the store key with the bundle id or package in the project.',
  },
  build_number_used: {
    title: 'The build number is used already',
    explanation:
      'The store has a build of this number that this submission has not sent. A store takes each number once, also if that build was removed.',
    advice:
      'Raise the build number and build anew. With `autoIncrement` the controller counts: set its counter with `PUT /api/projects/PROJECT/numbers/PLATFORM/APP`.',
  },
  version_closed: {
    title: 'The version takes no more builds',
    explanation: 'This version of the app was released or is in review, so the store takes no further build of it.',
    advice: 'Raise the version of the app (`version` in app.json), and build anew.',
  },
  sdk_too_old: {
    title: 'The app was built with too old an SDK',
    explanation: 'The store takes only apps that were built with a newer SDK, or that target a newer system.',
    advice: 'Build with a newer image, or raise the target in the project. The words of the store name the version.',
  },
  purpose_text_missing: {
    title: 'A purpose text is missing in the app',
    explanation: 'The app uses something that is private to people, and its Info.plist does not say why.',
    advice: 'Add the key that the store names to `ios.infoPlist` in app.json, with a sentence for people. Build anew.',
  },
  build_refused: {
    title: 'The store refused the file',
    explanation: 'The store has looked at the file, and does not take it. Its words say why.',
    advice: 'Do what the store says, raise the build number if it asks for that, and build anew.',
  },
  draft_app: {
    title: 'The app was never published, so it takes drafts alone',
    explanation: 'Until its first release in Play Console, an app takes only releases with the status draft.',
    advice: 'Submit with `releaseStatus` draft, and make the first release by hand in Play Console.',
  },
  release_refused: {
    title: 'The store has the file and refuses the release',
    explanation: 'The track, the status or the share of users does not fit what the app has in the store.',
    advice: 'Do what the words of the store say, and submit again. Nothing was published.',
  },
  quota_used_up: {
    title: 'The store takes no more requests today',
    explanation: 'The account has used up what the store allows in a day or an hour.',
    advice: 'Submit again later. If others use the same key, let them ask less.',
  },
  upload_damaged: {
    title: 'The file did not arrive whole',
    explanation: 'At each try, the store received a file with another length or digest than the one that was sent.',
    advice: 'Submit again. If it fails in the same way, compare the digest of the artifact with the one of your file.',
  },
  upload_not_allowed: {
    title: 'The store asks for an upload that the controller does not make',
    explanation:
      'The bytes of an app go over https to hosts of the store alone, with PUT. The store has named something else, and no byte was sent there.',
    advice:
      'Submit again, because such an answer can be a fault of the store or of the network before it. If it comes again, report it with its message.',
  },
  store_unavailable: {
    title: 'The store could not be reached in time',
    explanation: 'For the whole time of one step the store did not answer, or answered that it has a fault of its own.',
    advice:
      "Look at the store's status page, and submit again later. It is safe: the store is asked first what it has.",
  },
  processing_too_long: {
    title: 'The store did not finish processing in time',
    explanation:
      'The store has the file, or may have it. Longer than a submission lasts, it has not said what became of it. So the app may still appear in the store.',
    advice:
      'Look in App Store Connect or Play Console. If the build is there, do by hand what the submission has not done, such as groups or a release. If it is not there, submit the same build again: no new number is needed, and the store is asked first what it has. If the words of the store are about the key, set the store key anew before.',
  },
  restored: {
    title: 'The database was restored from a back-up',
    explanation: 'The controller does not know what the submission did after the back-up.',
    advice: 'Look first whether the store has the build. Submit again if it has not.',
  },
  internal: {
    title: 'The controller failed',
    explanation: 'A step of the submission failed again and again for a reason that no store has caused.',
    advice: 'Look whether the store has the build. Report the fault with the log of the controller.',
  },
};

/** The controller has found these reasons itself. Their texts are not the words of a store. */
const FOUND_HERE: ReadonlySet<SubmissionReason> = new Set([
  ...(['key_gone', 'key_not_for_app', 'right_gone', 'artifact_gone', 'artifact_unsuitable', 'app_mismatch'] as const),
  ...(['upload_not_allowed', 'restored', 'internal'] as const),
]);

/** `foundHere` is true if the text comes from the controller, for any reason. */
export const explainReason = (
  code: SubmissionReason,
  text: string | null,
  foundHere = FOUND_HERE.has(code),
): SubmissionFailure => ({
  code,
  ...WORDS[code],
  message: foundHere ? text : null,
  storeWords: foundHere ? null : text,
});
