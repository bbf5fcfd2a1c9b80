// The health line: is it fine, and if not, where. And the totals under it: counts of harm are there when they are zero, too.

import { NONE, count, latency, rate, when } from './format.js';
import { attribute, byId, h, text } from './dom.js';

const STATES = { healthy: ['●', 'healthy', 'ok'], bottleneck: ['▲', 'bottleneck', 'warn'], trouble: ['✖', 'trouble', 'bad'], waiting: ['○', 'waiting', 'none'] };

const FIGURES = [
  ['In', (is) => rate(is.in)], ['Out', (is) => rate(is.out)],
  ['End to end p50 / p99 / p99.9', (is) => [is.p50, is.p99, is.p999].map(latency).join(' / ')],
  ['Backlog', (is) => count(is.backlog)], ['Oldest', (is) => latency(is.oldest_age_s)],
  ['Lost', (is) => count(is.lost), 'lost'], ['Duplicates dropped', (is) => count(is.duplicates)],
  ['Redelivered', (is) => count(is.redelivered)], ['Dead', (is) => count(is.dead), 'dead'],
];

/** The health line and the totals. */
export function health() {
  const figures = FIGURES.map(([name, write, harm]) => {
    const value = h('dd');
    byId('totals').append(h('div', {}, h('dt', {}, name), value));
    return { value, write, harm };
  });

  function draw(model, linked) {
    const is = model.health;
    const [mark, word, level] = linked ? STATES[is?.state] ?? STATES.waiting : ['◌', 'no connection', 'none'];
    text(byId('health-state'), `${mark} ${word}`);
    attribute(byId('health'), 'data-level', level);
    text(byId('health-text'), linked ? is?.text ?? 'No data yet.' : model.now === null ? 'Nothing was heard from the hub yet.' : `What is below is as of ${when(model.now)}.`);
    const unaccounted = is?.unaccounted;
    text(byId('unaccounted'), `${unaccounted > 0 ? '✖' : '✔'} unaccounted: ${typeof unaccounted === 'number' ? count(unaccounted) : NONE}`);
    attribute(byId('unaccounted'), 'data-level', unaccounted > 0 ? 'bad' : typeof unaccounted === 'number' ? 'ok' : 'none');
    for (const { value, write, harm } of figures) {
      text(value, is?.totals ? write(is.totals) : NONE);
      if (harm) attribute(value, 'data-harm', is?.totals?.[harm] > 0);
    }
    document.title = `${mark} ${word} · Weir hub`;
  }

  return { draw };
}
