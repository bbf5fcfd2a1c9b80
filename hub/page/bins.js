// Latency by bin, as the monitoring hub of 2016 showed it: powers of ten, percent of each, and the bin that a percentile
// falls into. Pure.

/** The upper bounds of the bins in seconds, and the words of 2016. */
const BOUNDS = [[1e-6, '< 1 us'], [1e-5, '< 10 us'], [1e-4, '< 100 us'], [1e-3, '< 1 ms'], [1e-2, '< 10 ms'],
  [1e-1, '< 100 ms'], [1, '< 1 s'], [10, '< 10 s'], [Infinity, '> 10 s']];
export const PERCENTILES = [[50, 'p50'], [75, 'p75'], [90, 'p90'], [99, 'p99'], [99.9, 'p999']];

const round = (value) => Math.round(value * 100) / 100;

/** Nine rows: label, count, percent and cumulative percent (both of two places). Bins of the hub go where they belong. */
export function rows(bins) {
  const counts = BOUNDS.map(() => 0);
  for (const { le, count } of bins ?? []) {
    const bound = le === null || le === 'overflow' ? Infinity : Number(le);
    // A bound may come with the last digit of a float: 0.0010000000000000002 is 1 ms.
    const at = BOUNDS.findIndex(([most]) => bound <= most * (1 + 1e-9));
    if (at >= 0) counts[at] += count ?? 0;
  }
  const total = counts.reduce((all, one) => all + one, 0);
  let below = 0;
  return BOUNDS.map(([, label], at) => {
    const percent = total ? round((counts[at] / total) * 100) : 0;
    below += counts[at];
    return { label, count: counts[at], percent, cumulative: total ? Math.min(100, round((below / total) * 100)) : 0 };
  });
}

/** The label of the bin that holds a percentile: the first whose cumulative share reaches it; null without any latency. */
export function binOf(percentile, all) {
  if (!all.some((row) => row.count > 0)) return null;
  return (all.find((row) => row.count > 0 && row.cumulative >= percentile) ?? all.findLast((row) => row.count > 0)).label;
}
