/** The version of the contract. The agent sends it with each call; an agent below the minimum is told to update. */

/** Sent by the agent with each call as `X-Tartbeat-Contract`; an agent below the minimum is told to update. */
export const CONTRACT_VERSION = 1;

export const CONTRACT_VERSION_MIN = 1;

export const CONTRACT_HEADER = 'X-Tartbeat-Contract';
