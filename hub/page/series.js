// Series as the charts want them: gaps are gaps, on a logarithmic scale there is no zero. Pure.

/** Puts a null in every slot between `from` and `to` (Unix seconds) for which there is no figure. */
export function withGaps(series, names, from, to) {
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
  return [t, ...names.map((name) => places.map((place) => (place < 0 ? null : series[name]?.[place] ?? null)))];
}

/** What is not above zero cannot stand on a logarithmic scale. */
export const positive = (values) => values.map((value) => (value > 0 ? value : null));

/** A counter that only grows, as what it grew by from slot to slot; after a restart it begins anew. */
export function growth(values) {
  let before = null;
  return values.map((value) => {
    if (value === null) return null;
    const grew = before === null ? 0 : value >= before ? value - before : value;
    before = value;
    return grew;
  });
}

/** The ends of a logarithmic scale: whole powers of ten around what is shown, at least one of them. */
export function decades(least, most) {
  if (!(least > 0) || !(most > 0)) return [1e-6, 1];
  const low = Math.floor(Math.log10(least) + 1e-9);
  const high = Math.ceil(Math.log10(most) - 1e-9);
  return [10 ** low, 10 ** Math.max(high, low + 1)];
}
