/**
 * Finds out who this agent is and what a former run left, before the agent claims anything.
 *
 * Invariant: touches only VMs whose whole name is one that this worker's agent gives, and decides about each
 * of them. Touches none while another installation acts for this worker.
 */
import type { WorkerAttempts } from '#contract';
import type { Answer } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { pause, untilAnswered } from '../../client/retry.ts';
import type { WorkerClient } from '../../client/worker-client.ts';
import { type AttemptAction, type Decision, type Facts, reconcile } from '../attempt/reconcile.ts';
import type { AgentConfig } from '../config.ts';
import { ENROL_ANEW } from '../config-findings.ts';
import type { Emit } from '../events.ts';
import type { AttemptJournal } from '../state/journal.ts';
import type { StateFolder } from '../state/state-folder.ts';
import type { Tart } from '../tart/tart.ts';
import { parseVmName, vmNameOf } from '../vm/name.ts';
import { destroyVm } from '../vm/vm.ts';

/** How long the agent waits for the controller if it has builds to take up, because their clocks run. */
const PATIENCE_MS = 10_000;
const LIST_PAUSE_MS = 5_000;
const IN_USE_PAUSE_MS = 5_000;

export interface StartUpOptions {
  config: AgentConfig;
  client: WorkerClient;
  tart: Tart;
  state: StateFolder;
  emit: Emit;
  signal: AbortSignal;
}
export interface StartUp {
  workerId: string;
  instanceId: string;
  attempts: { journal: AttemptJournal; action: AttemptAction }[];
}

/** The key is not the key of a worker, or the controller refuses it. */
export class AgentIdentityError extends Error {
  override name = 'AgentIdentityError';
}

/** Rejects with AgentIdentityError, or with the signal's reason. */
export async function startUp(options: StartUpOptions): Promise<StartUp> {
  const { state, emit } = options;
  const { instanceId } = await state.instance();
  const { journals, damaged } = await state.openAttempts();
  for (const name of damaged)
    emit({ type: 'warning', message: `the journal of ${name} could not be read and was set aside` });
  const workerId = await whoAmI(options, journals);
  const answer = await heldBy(options, workerId, instanceId, journals.length > 0);
  const vms = await ourVms(options, workerId);
  const controller: Facts['controller'] = answer.ok
    ? { says: 'known', attempts: answer.value.attempts }
    : { says: answer.kind === 'refused' ? 'refused' : 'unreachable' };

  const unansweredClaimId = await unansweredClaim(state, journals);
  const decisions = reconcile({ journals: journals.map(factsOf), vms, controller, unansweredClaimId });
  const attempts: StartUp['attempts'] = [];
  for (const decision of decisions) {
    const { buildId, attempt, action } = decision;
    const vmName = vmNameOf({ workerId, buildId, attempt });
    emit({ type: 'reconciled', vmName, action, reason: `controller: ${decision.says}, here: ${decision.here}` });
    if (action === 'claim' || action === 'none') continue;
    const journal = journals.find((one) => isOf(one, decision));
    if (journal) attempts.push({ journal, action });
    else await settleWithoutJournal(options, decision, vmName);
  }
  return { workerId, instanceId, attempts };
}

/** The id of a claim that the controller may have granted in an answer that was lost. */
async function unansweredClaim(state: StateFolder, journals: readonly AttemptJournal[]): Promise<string | null> {
  const claimId = await state.unansweredClaimId();
  if (!journals.some((journal) => journal.state.assignment.claimId === claimId)) return claimId;
  // This claim was answered, and its attempt is journalled. The agent stopped before it could forget the
  // claim.
  await state.forgetClaim();
  return null;
}

/** Asks the controller. If it is away and builds wait to be taken up, it uses the id from its last run. */
async function whoAmI(
  { client, state, config, emit, signal }: StartUpOptions,
  journals: AttemptJournal[],
): Promise<string> {
  const { workerId: remembered } = await state.instance();
  const canWait = journals.length === 0 || remembered === null;
  const giveUpAfterMs = canWait ? Number.POSITIVE_INFINITY : PATIENCE_MS;
  let said = false;
  const ask = async () => {
    const answer = await client.me(signal);
    if (!answer.ok && !said)
      emit({ type: 'controller', reachable: answer.kind === 'refused', message: answer.message });
    said ||= !answer.ok;
    return answer;
  };
  const answer = await untilAnswered(ask, { signal, giveUpAfterMs });
  if (!answer.ok) {
    // A refusal may come from a bad deploy. A running build goes on, and the answers to its own beats decide.
    if (!canWait) return remembered!;
    throw new AgentIdentityError(`${config.controllerUrl} refused \`apiKey\`: ${answer.message}. ${ENROL_ANEW}`);
  }
  const { scope, workerId } = answer.value;
  if (scope !== 'worker' || workerId === null)
    throw new AgentIdentityError(
      `\`apiKey\` in the config is a key of scope ${scope}, and an agent needs the key of a worker. ${ENROL_ANEW}`,
    );
  await state.rememberWorker(workerId);
  return workerId;
}

/**
 * The attempts that the controller counts as running here. Waits while another installation acts for this
 * worker. With journals it does not wait, because the answers to their beats tell which attempts still count.
 */
async function heldBy(
  { client, emit, signal }: StartUpOptions,
  workerId: string,
  instanceId: string,
  hasJournals: boolean,
): Promise<Answer<WorkerAttempts>> {
  const ask = () => client.attempts(workerId, { instanceId, signal });
  for (let said = false; ; said = true) {
    const answer = await untilAnswered(ask, { signal, giveUpAfterMs: PATIENCE_MS });
    const inUse = !answer.ok && answer.kind === 'refused' && answer.code === 'worker_in_use';
    if (!inUse || hasJournals) return answer;
    if (!said) emit({ type: 'idle', state: 'refused', reason: `${answer.code}: ${answer.message}` });
    await pause(IN_USE_PAUSE_MS, signal);
  }
}

async function ourVms({ tart, emit, signal }: StartUpOptions, workerId: string): Promise<Facts['vms']> {
  for (let said = false; ; said = true) {
    const listed = await tart.list(signal);
    signal.throwIfAborted();
    if (listed.ok)
      return listed.vms.flatMap(({ name, source, state }) => {
        const key = source === 'local' ? parseVmName(name, workerId) : null;
        return key ? [{ vmName: name, buildId: key.buildId, attempt: key.attempt, running: state === 'running' }] : [];
      });
    // Nothing may be claimed before tart has listed its VMs, because a VM of ours might run unseen.
    if (!said)
      emit({
        type: 'warning',
        message: `${listed.message}. The agent waits until tart answers; \`expo-worker doctor\` says more`,
      });
    await pause(LIST_PAUSE_MS, signal);
  }
}

async function settleWithoutJournal(
  { client, tart, emit, signal }: StartUpOptions,
  decision: Decision,
  vmName: string,
): Promise<void> {
  const { buildId, attempt, here, action } = decision;
  if (here === 'orphan') {
    const removed = await destroyVm({ tart, name: vmName, signal });
    if (!removed.ok) emit({ type: 'warning', message: `${vmName} could not be destroyed: ${removed.message}` });
    // The VM may have been kept. Nobody waits for the answer, because the controller knows until when.
    else new AttemptClient(client.connection).kept(buildId, { attempt, until: null }, signal).catch(() => {});
  }
  if (action !== 'lost') return;
  const message = 'the agent was started again and has no journal of this attempt';
  const report = () =>
    new AttemptClient(client.connection).report(
      buildId,
      { type: 'fail', attempt, verdict: 'worker_restarted', message },
      signal,
    );
  const answer = await untilAnswered(report, { signal, giveUpAfterMs: PATIENCE_MS });
  emit({
    type: 'reported',
    buildId,
    attempt,
    accepted: answer.ok,
    message: answer.ok ? answer.value.status : answer.message,
  });
}

const isOf = ({ state }: AttemptJournal, { buildId, attempt }: Decision) =>
  state.assignment.buildId === buildId && state.assignment.attempt === attempt;

const factsOf = (journal: AttemptJournal): Facts['journals'][number] => ({
  buildId: journal.state.assignment.buildId,
  attempt: journal.state.assignment.attempt,
  vmName: journal.state.vmName,
  finished: journal.reached('result_ready'),
  kept: journal.isKept,
  booted: journal.reached('booted'),
});
