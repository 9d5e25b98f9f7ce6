import { setImmediate as letOthers } from "node:timers/promises";
import { withinRenderBudget } from "./templates.ts";

/** How long a process may answer nobody because it tries somebody's templates. */
const longestPieceMs = 250;

/** The time that settings may be tried for. Nothing that a template does makes it longer, nor keeps others waiting. */
export interface TrialTime {
  /**
   * Lets others be answered, then does one piece of the work: templates that render in it are refused once the time is
   * over, or once this piece has taken a quarter of a second.
   */
  spend<T>(piece: () => T): Promise<T>;
  isOver(): boolean;
}

/** Gives `totalMs` for all pieces together; the time in which others are answered does not count. */
export function createTrialTime(totalMs: number): TrialTime {
  let leftMs = totalMs;
  return {
    async spend(piece) {
      await letOthers();
      const startedMs = performance.now();
      try {
        return withinRenderBudget(Math.max(0, Math.min(leftMs, longestPieceMs)), piece);
      } finally {
        leftMs -= performance.now() - startedMs;
      }
    },
    isOver: () => leftMs <= 0,
  };
}
