import { type Schedule, weekdays } from "../partners/schedule.ts";
import type { OwnSettingsPatch } from "./own-settings.ts";

/** What is to become of a partner's limits and opening hours, line by line: `limit per day: 10 → 20`. Pure. */
export function changesInWords(before: OwnSettingsPatch, after: OwnSettingsPatch): string[] {
  const limits = Object.entries(after.limits ?? {}).flatMap(([name, limit]) => {
    const earlier = new Map(Object.entries(before.limits ?? {})).get(name) ?? 0;
    return earlier === limit ? [] : [`limit ${name}: ${limitWords(earlier)} → ${limitWords(limit)}`];
  });
  if (after.schedule === undefined) return limits;
  const [from, to] = [scheduleWords(before.schedule ?? null), scheduleWords(after.schedule)];
  return from === to ? limits : [...limits, `opening hours: ${from} → ${to}`];
}

function limitWords(limit: number): string {
  return limit === 0 ? "none" : String(limit);
}

function scheduleWords(schedule: Schedule | null): string {
  if (schedule === null) return "always";
  const days = weekdays.flatMap((weekday) => {
    const windows = schedule[weekday] ?? [];
    return windows.length === 0 ? [] : [`${weekday} ${windows.map(({ from, to }) => `${from}-${to}`).join(" ")}`];
  });
  const closed = schedule.closedDates ?? [];
  const open = days.length === 0 ? "always" : days.join(", ");
  return closed.length === 0 ? open : `${open}, but not on ${closed.join(", ")}`;
}
