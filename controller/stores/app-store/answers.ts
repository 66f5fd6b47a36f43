/**
 * Defines the parts of App Store Connect's answers that Tartbeat reads, and ignores the rest.
 * https://developer.apple.com/documentation/appstoreconnectapi has all of them.
 */
import { z } from 'zod';

const text = z.string();
const optionalText = z.string().nullish();

/** Ids go into the path of a request. */
const id = z.string().regex(/^[\w.~-]{1,200}$/);

const many = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), links: z.object({ next: optionalText }).nullish() });
const one = <T extends z.ZodType>(item: T) => z.object({ data: item });

const App = z.object({ id, attributes: z.object({ bundleId: text }) });
export type App = z.infer<typeof App>;
export const AppAnswer = one(App);
export const AppsAnswer = many(App);

const related = z.object({ data: z.object({ id }).nullish() }).nullish();

const detail = z.object({ code: optionalText, description: optionalText });
const details = z.array(detail).nullish();

const BUILD_UPLOAD_STATES = ['AWAITING_UPLOAD', 'PROCESSING', 'FAILED', 'COMPLETE'] as const;

const BuildUpload = z.object({
  id,
  attributes: z.object({
    cfBundleShortVersionString: optionalText,
    cfBundleVersion: optionalText,
    state: z.object({ state: z.enum(BUILD_UPLOAD_STATES), errors: details, warnings: details }),
  }),
  relationships: z.object({ build: related }).nullish(),
});
export type BuildUpload = z.infer<typeof BuildUpload>;
export const BuildUploadAnswer = one(BuildUpload).extend({ included: z.array(z.unknown()).nullish() });
export const BuildUploadsAnswer = many(BuildUpload);

const Operation = z.object({
  method: z.string(),
  url: text,
  offset: z.number().int().min(0),
  length: z.number().int().min(1),
  requestHeaders: z.array(z.object({ name: text, value: text })).nullish(),
});
export type Operation = z.infer<typeof Operation>;

const DELIVERY_STATES = ['AWAITING_UPLOAD', 'UPLOAD_COMPLETE', 'COMPLETE', 'FAILED'] as const;

const BuildUploadFile = z.object({
  id,
  attributes: z.object({
    fileSize: z.number().nullish(),
    assetDeliveryState: z.object({ state: z.enum(DELIVERY_STATES).nullish(), errors: details }).nullish(),
    uploadOperations: z.array(Operation).nullish(),
  }),
});
export type BuildUploadFile = z.infer<typeof BuildUploadFile>;
export const BuildUploadFileAnswer = one(BuildUploadFile);
export const BuildUploadFilesAnswer = many(BuildUploadFile);
export const IncludedFile = BuildUploadFile.extend({ type: z.literal('buildUploadFiles') });

const Build = z.object({
  id,
  attributes: z.object({
    version: text,
    processingState: z.enum(['PROCESSING', 'FAILED', 'INVALID', 'VALID']).nullish(),
    usesNonExemptEncryption: z.boolean().nullish(),
  }),
  relationships: z.object({ buildUpload: related }).nullish(),
});
export type Build = z.infer<typeof Build>;
export const BuildAnswer = one(Build);
export const BuildsAnswer = many(Build);

export const BuildNumbersAnswer = many(
  z.object({ attributes: z.object({ version: optionalText, cfBundleVersion: optionalText }) }),
);

export const VersionsAnswer = many(
  z.object({ attributes: z.object({ versionString: text, appVersionState: optionalText }) }),
);

export const GroupsAnswer = many(
  z.object({
    id,
    attributes: z.object({ name: text, hasAccessToAllBuilds: z.boolean().nullish() }),
  }),
);

export const LocalizationsAnswer = many(
  z.object({ id, attributes: z.object({ locale: text, whatsNew: optionalText }) }),
);

const Errors = z.object({
  errors: z.array(z.object({ code: optionalText, title: optionalText, detail: optionalText })),
});

export interface StoreError {
  code: string;
  text: string;
}

/** The errors of a refused request. Empty if the answer has another form. */
export function errorsOf(json: unknown): StoreError[] {
  const parsed = Errors.safeParse(json);
  if (!parsed.success) return [];
  return parsed.data.errors.map(({ code, title, detail: said }) => ({
    code: code ?? '',
    text: [title, said === title ? null : said].filter(Boolean).join(' '),
  }));
}

/** The errors of a failed upload, or the warnings of an upload. */
export const errorsOfState = (list: z.infer<typeof details>): StoreError[] =>
  (list ?? []).map(({ code, description }) => ({ code: code ?? '', text: description ?? '' }));
