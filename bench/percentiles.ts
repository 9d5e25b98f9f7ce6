/** What a set of durations comes to, in the unit of the durations. */
export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** The smallest value that at least this share (0 to 1) of the values does not exceed; NaN of nothing. Takes them sorted. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = Math.max(0, Math.ceil(share * sorted.length) - 1);
  return sorted[place] ?? Number.NaN;
}

/** The spread of values in any order; those that are not finite are left out. */
export function spreadOf(values: Iterable<number>): Spread {
  const sorted = Float64Array.from([...values].filter(Number.isFinite)).sort();
  const at = (share: number) => percentile(sorted, share);
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** Values at evenly spaced shares from 0 to 1, to draw a distribution from: [share, value]. */
export function distributionOf(values: Iterable<number>, points = 100): (readonly [number, number])[] {
  const sorted = Float64Array.from([...values].filter(Number.isFinite)).sort();
  if (sorted.length === 0) return [];
  return Array.from(
    { length: points + 1 },
    (_, place) => [place / points, percentile(sorted, place / points)] as const,
  );
}
