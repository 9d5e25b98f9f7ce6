import { setTimeout } from "node:timers/promises";

/** Waits until a condition holds; fails, saying which, when it does not within the time. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const endsAt = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error(`Not within ${withinMs} ms: ${condition.toString()}`);
    await setTimeout(10);
  }
}
