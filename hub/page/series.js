// Series as the charts want them: gaps are gaps, on a logarithmic scale there is no zero. Pure.

/**
 * Columns for a chart from `from` to `to` (Unix seconds): null where the line breaks. A node that reports every `period`
 * seconds leaves slots empty in between; only what is silent for more than 2.5 periods is a gap.
 */
export function withGaps(series, names, from, to, period = 1) {
  const step = series.step > 0 ? series.step : 1;
  const given = series.t ?? [];
  const t = [];
  const places = [];
  const empty = (at) => { t.push(at); places.push(-1); };
  if (given.length === 0) {
    empty(from);
    empty(to);
  }
  given.forEach((at, i) => {
    const before = i ? given[i - 1] : Math.max(from, at - 2 * step);
    // One null breaks the line; a slot may come a little late without being a gap.
    if (at - before > 1.5 * step) empty(i ? before + step : at - step);
    t.push(at);
    places.push(i);
  });
  if (given.length && to - given.at(-1) > 3.5 * step) empty(given.at(-1) + step);
  const columns = names.map((name) => places.map((place) => (place < 0 ? null : series[name]?.[place] ?? null)));
  return [t, ...columns.map((column) => bridged(t, column, 2.5 * Math.max(period, step)))];
}

/** Makes nulls between two figures that are not further apart than `most` seconds undefined, which breaks no line. */
function bridged(t, column, most) {
  let last = -1;
  column.forEach((value, at) => {
    if (value === null) return;
    if (last >= 0 && t[at] - t[last] <= most) column.fill(undefined, last + 1, at);
    last = at;
  });
  return column;
}

/** Without the newest figure: a period ends within a second, whose other part the next report tells. */
export function complete(values) {
  const last = values.findLastIndex((value) => typeof value === 'number');
  return values.map((value, at) => (at === last ? null : value));
}

/** What is not above zero cannot stand on a logarithmic scale. */
export const positive = (values) => values.map((value) => (value === undefined || value > 0 ? value : null));

/** A counter that only grows, as what it grew by per second; after a restart of its node it begins anew. */
export function growth(t, values) {
  let before = null;
  let since = null;
  return values.map((value, at) => {
    if (value === null || value === undefined) return value;
    const grew = before === null ? 0 : (value >= before ? value - before : value) / Math.max(1, t[at] - since);
    [before, since] = [value, t[at]];
    return grew;
  });
}

/** The ends of a logarithmic scale: whole powers of ten around what is shown, at least one of them. */
export function decades(least, most) {
  if (!(least > 0) || !(most > 0)) return [1e-6, 1];
  const low = Math.floor(Math.log10(least) + 1e-9);
  const high = Math.ceil(Math.log10(most) - 1e-9);
  // Written and read, and not computed: 10 ** -5 is a hair off.
  return [Number(`1e${low}`), Number(`1e${Math.max(high, low + 1)}`)];
}
