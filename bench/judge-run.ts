import { hasSmallLimit, isClosed, type Mix, pathOf, smallLimit } from "./mixes.ts";

/** What a system says of the leads that it took in, by their numbers. */
export interface Outcomes {
  readonly delivered: ReadonlySet<number>;
  /** A partner that never answers has them, or had and did not confirm them. */
  readonly waiting: ReadonlySet<number>;
}

/** One run, as sender, receiver and the system itself saw it. */
export interface SeenRun {
  readonly mix: Mix;
  /** Where the partners' addresses begin, without the host. */
  readonly partnersPath: string;
  /** Whether the system knows limits and opening hours. */
  readonly hasRules: boolean;
  /** Numbers of leads: the first, and how many were sent. */
  readonly from: number;
  readonly count: number;
  readonly refused: number;
  readonly firstRefusal: string | null;
  /** When each came to a partner; NaN if it did not. */
  readonly arrivals: ArrayLike<number>;
  /** Those that came to a partner that never answers. */
  readonly hung: ReadonlySet<number>;
  readonly repeated: readonly number[];
  /** Since the system was started. */
  readonly requestsByPath: ReadonlyMap<string, number>;
  readonly outcomes: Outcomes;
}

/** What must not be, in plain words; empty when no lead is lost or doubled, and every partner's rules were kept. */
export function findWrong(run: SeenRun): readonly string[] {
  const { count, refused, firstRefusal } = run;
  return [
    ...(refused > 0 ? [`${refused} of ${count} leads were refused; the first: ${firstRefusal}`] : []),
    ...findLost(run),
    ...(run.repeated.length > 0 ? [`${run.repeated.length} requests came for a lead that a partner had`] : []),
    ...(run.hasRules ? findRuleBreaks(run) : []),
  ];
}

/** Whatever was answered is with a partner or on its way to one, and what is called delivered came to one that said yes. */
function findLost({ from, count, refused, arrivals, hung, outcomes }: SeenRun): string[] {
  const numbers = Array.from({ length: count }, (_, place) => from + place);
  const came = (number: number) => Number.isFinite(arrivals[number - from]) && !hung.has(number);
  const isLost = (number: number) => !outcomes.delivered.has(number) && !outcomes.waiting.has(number);
  // Which of them were refused the sender does not tell: as many may be missing.
  const lost = numbers.filter(isLost).length - refused;
  const unfounded = numbers.filter((number) => outcomes.delivered.has(number) && !came(number)).length;
  const unnoticed = numbers.filter((number) => !outcomes.delivered.has(number) && came(number)).length;
  return [
    ...(lost > 0 ? [`${lost} of ${count} leads are lost: neither delivered nor on their way`] : []),
    ...(unfounded > 0 ? [`${unfounded} leads are called delivered and never came`] : []),
    ...(unnoticed > 0 ? [`${unnoticed} leads came and are not called delivered`] : []),
  ];
}

function findRuleBreaks({ mix, partnersPath, requestsByPath }: SeenRun): string[] {
  return Array.from({ length: mix.partnerCount }, (_, place) => place).flatMap((place) => {
    const count = requestsByPath.get(partnersPath + pathOf(mix, place)) ?? 0;
    if (isClosed(mix, place) && count > 0) return [`partner ${place} is closed and got ${count} leads`];
    if (hasSmallLimit(mix, place) && count > smallLimit)
      return [`partner ${place} may get ${smallLimit} leads a day and got ${count}`];
    return [];
  });
}
