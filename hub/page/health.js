// The health line: is it fine, and if not, where. And the totals under it: counts of harm are there when they are zero, too.

import { NONE, count, latency, rate, when } from './format.js';
import { attribute, byId, h, text } from './dom.js';

const STATES = { healthy: ['●', 'healthy', 'ok'], bottleneck: ['▲', 'bottleneck', 'warn'], trouble: ['✖', 'trouble', 'bad'], waiting: ['○', 'waiting', 'none'] };

/** Name, text, the column of the table that tells which nodes it is, and the count that is harm when it is not 0. */
const FIGURES = [
  ['In', (is) => rate(is.in)], ['Out', (is) => rate(is.out)],
  ['End to end p50 / p99 / p99.9', (is) => [is.p50, is.p99, is.p999].map(latency).join(' / ')],
  ['Backlog', (is) => count(is.backlog), 'depth'], ['Oldest', (is) => latency(is.oldest_age_s), 'age'],
  ['Lost', (is) => count(is.lost), 'drops', 'lost'], ['Duplicates dropped', (is) => count(is.duplicates), 'dup'],
  ['Redelivered', (is) => count(is.redelivered), 'redelivered'], ['Dead', (is) => count(is.dead), 'dead', 'dead'],
];

/** The health line and the totals; `sortBy(column, down)` when a total is chosen: who has it stands on top of the table. */
export function health({ sortBy }) {
  const figures = FIGURES.map(([name, write, column, harm]) => {
    const value = h('span');
    const act = column ? h('button', { type: 'button', title: 'Which nodes: sorts the table', onclick: () => sortBy(column, true) }) : null;
    act?.append(value);
    byId('totals').append(h('div', {}, h('dt', {}, name), h('dd', {}, act ?? value)));
    return { name, value, act, write, harm };
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
    for (const { name, value, act, write, harm } of figures) {
      const words = is?.totals ? write(is.totals) : NONE;
      text(value, words);
      // Who hears the page hears the figure's name from the button, too.
      if (act) attribute(act, 'aria-label', `${name}: ${words}`);
      if (harm) attribute(value, 'data-harm', is?.totals?.[harm] > 0);
    }
    document.title = `${mark} ${word} · Weir hub`;
  }

  return { draw };
}
