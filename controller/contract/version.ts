/** Holds the version of the contract, which an agent sends with each call. */

export const CONTRACT_VERSION = 1;

/** An agent with a lower version is refused and told how to update. */
export const CONTRACT_VERSION_MIN = 1;

export const CONTRACT_HEADER = 'X-Tartbeat-Contract';
