/** Defines what bench/store-upload.ts and its Worker say to each other. */
import type { AppStoreSubmit } from '#contract';
import type { StepContext, StepData, StepResult } from '../../controller/stores/step.ts';

export interface StepAsked {
  step: string;
  data: StepData;
  context: Pick<StepContext<AppStoreSubmit>, 'artifact' | 'options' | 'key' | 'addresses' | 'uploadBeganAt'>;
}

export interface StepAnswered {
  result: StepResult;
  /** Requests to the store, and reads from R2. */
  subrequests: number;
}
