/** As many calls as one run takes on; the rest waits for the next. */
const mostInGroup = 100;

/**
 * Makes calls that come at the same time go together: while `run` is under way, calls gather, and the next run takes them
 * all. A call alone runs at once. `run` gives a result for each call, in order; when it fails for a group, each call is run
 * alone, so that one call's trouble is its own.
 */
export function groupCalls<Call, Result>(
  run: (calls: readonly Call[]) => Promise<readonly Result[]>,
): (call: Call) => Promise<Result> {
  let waiting: Waiting<Call, Result>[] = [];
  let isRunning = false;

  async function runAll(): Promise<void> {
    isRunning = true;
    while (waiting.length > 0) {
      const group = waiting.slice(0, mostInGroup);
      waiting = waiting.slice(mostInGroup);
      if (!(await settle(run, group))) for (const one of group) await settle(run, [one]);
    }
    isRunning = false;
  }

  return async (call) =>
    new Promise<Result>((resolve, reject) => {
      waiting.push({ call, resolve, reject });
      if (!isRunning) void runAll();
    });
}

interface Waiting<Call, Result> {
  readonly call: Call;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Gives whether the group is settled; a group of one always is. */
async function settle<Call, Result>(
  run: (calls: readonly Call[]) => Promise<readonly Result[]>,
  group: readonly Waiting<Call, Result>[],
): Promise<boolean> {
  try {
    const results = await run(group.map(({ call }) => call));
    group.forEach(({ resolve, reject }, index) => {
      const result = results[index];
      if (result === undefined) reject(new Error("A group gave fewer results than it had calls."));
      else resolve(result);
    });
    return true;
  } catch (error) {
    if (group.length > 1) return false;
    for (const { reject } of group) reject(error);
    return true;
  }
}
