// Numbers as people read them. Pure. `null` and what is no number is a dash.

export const NONE = '–';
const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** Three figures that count, without zeros that say nothing. */
function figures(value) {
  const places = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const written = value.toFixed(places);
  return places ? written.replace(/\.?0+$/, '') : written;
}

/** 0, 0.4, 12, 1.53k, 34.5k, 1.2M. */
export function short(value) {
  if (!known(value)) return NONE;
  const sign = value < 0 ? '-' : '';
  let rest = Math.abs(value);
  for (const unit of ['', 'k', 'M', 'G', 'T']) {
    // 999.6 would be written as 1000: the next unit takes it.
    if (rest < 999.5) return sign + figures(rest) + unit;
    rest /= 1000;
  }
  return sign + figures(rest) + 'P';
}

/** A rate per second. */
export const rate = (value) => (known(value) ? `${short(value)}/s` : NONE);

/** A count, every digit of it: 1,234,567. */
export function count(value) {
  if (!known(value)) return NONE;
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A latency given in seconds: 850 ns, 412 us, 3.4 ms, 1.2 s. */
export function latency(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds <= 0) return '0 s';
  for (const [unit, size] of [['ns', 1e-9], ['us', 1e-6], ['ms', 1e-3]]) {
    if (seconds / size < 999.5) return `${figures(seconds / size)} ${unit}`;
  }
  return seconds < 120 ? `${figures(seconds)} s` : age(seconds);
}

/** A stretch of time in its two largest units, or fewer: 7 s, 3 min 5 s, 2 h 10 min, 4 d 1 h. */
export function age(seconds, units = 2) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [['d', Math.floor(whole / 86400)], ['h', Math.floor(whole / 3600) % 24],
    ['min', Math.floor(whole / 60) % 60], ['s', whole % 60]];
  const first = parts.findIndex(([, value]) => value > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + units).filter(([, value]) => value > 0)
    .map(([unit, value]) => `${value} ${unit}`).join(' ');
}

/** A share of one, as percent without places: 0.974 is "97 %". */
export const percent = (share) => (known(share) ? `${Math.round(share * 100)} %` : NONE);

/** The time of day here, of Unix seconds. */
export function clock(at) {
  if (!known(at)) return NONE;
  const date = new Date(at * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** The time of day, with the day before it when that is not the day of `now`. */
export function when(at, now) {
  if (!known(at)) return NONE;
  const date = new Date(at * 1000);
  const same = known(now) && new Date(now * 1000).toDateString() === date.toDateString();
  const day = `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`;
  return same ? clock(at) : `${day} ${clock(at)}`;
}

/** The first `limit` characters; what is left out shows as an ellipsis. */
export function clip(words, limit) {
  const letters = Array.from(String(words));
  return letters.length <= limit ? letters.join('') : `${letters.slice(0, limit - 1).join('')}…`;
}
