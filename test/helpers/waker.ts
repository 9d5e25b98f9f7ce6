import type { Waker } from "../../queues/waker.ts";

/** Wakes nobody. A test that wants to know what would be woken gives its own `wake`. */
export const quietWaker: Waker = {
  wake: () => undefined,
  doHere: () => undefined,
  standBy: () => undefined,
  followStandBys: () => undefined,
  settled: async () => undefined,
};
