// The selected node: its figures, its charts, its latency by bin, its ledger.

import { calling, gauge, standing, told } from './model.js';
import { NONE, age, clip, count, latency, percent, rate } from './format.js';
import { PERCENTILES, binOf, rows } from './bins.js';
import { TABS } from './view.js';
import { attribute, h, text } from './dom.js';
import { charts } from './charts.js';
import { counters, edgeCounts, sums } from './ledger.js';

const NAMES = { charts: 'Charts', bins: 'Latency bins', ledger: 'Ledger' };
const EVERY = { '5m': 1000, '1h': 5000, '1d': 30000 }; // ms between two readings of the series

/** The pane of the selected node in `place`; `onTab(tab)` when another tab is chosen. */
export function detail(place, { onTab }) {
  const title = h('h2', { id: 'detail-title' }, 'Node');
  const state = h('span', { class: 'state' });
  const csv = h('a', { class: 'plain', download: '' }, 'CSV');
  const about = h('p', { class: 'about muted' });
  const boxes = PERCENTILES.map(([percentile]) => {
    const value = h('dd');
    const bin = h('dd', { class: 'bin muted' });
    return { percentile, value, bin, element: h('div', {}, h('dt', {}, `${percentile} %`), value, bin) };
  });
  const tabs = TABS.map((tab) => h('button', { type: 'button', role: 'tab', id: `tab-${tab}`, 'aria-controls': 'pane', 'data-tab': tab }, NAMES[tab]));
  const tablist = h('div', { class: 'switch', role: 'tablist', 'aria-label': 'About this node' }, ...tabs);
  const pane = h('div', { id: 'pane', role: 'tabpanel', tabindex: 0 });
  const head = h('div', { class: 'head' }, title, state, h('span', { class: 'grow' }), tablist, csv);
  place.append(head, about, h('dl', { class: 'percentiles', 'aria-label': 'Latency: this part of it is below' }, ...boxes.map((box) => box.element)), pane);

  let shown = { node: null, window: null, tab: null };
  let plots = null;
  let more = null; // the answer of /api/v1/nodes/{id}: bins, throughput, the whole ledger
  let asking = null; // aborts the answers that nobody waits for any longer
  const asked = { series: 0, node: 0 };
  let stale = true; // whether what is shown is not of this node, window and tab

  tablist.addEventListener('click', (event) => { const tab = event.target.closest('[data-tab]')?.dataset.tab; if (tab) onTab(tab); });
  tablist.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(shown.tab) + step + TABS.length) % TABS.length];
    onTab(next);
    tabs[TABS.indexOf(next)].focus();
  });

  async function ask(path, signal) {
    const answer = await fetch(path, { signal, headers: { accept: 'application/json' } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }

  /** Asks for what is shown when it is due. When it does not come, the last figures stay. */
  function refresh(model) {
    const { node, window, tab } = shown;
    if (document.hidden || node === null) return;
    const now = performance.now();
    const force = stale;
    stale = false;
    const { signal } = asking;
    const name = encodeURIComponent(node);
    if (tab === 'charts' && (force || now - asked.series >= EVERY[window] - 200)) {
      asked.series = now;
      ask(`/api/v1/series?node=${name}&window=${window}&name=${plots.names.join(',')}`, signal)
        .then((series) => { if (plots && !signal.aborted) plots.show(series, window, model.now ?? series.t?.at(-1) ?? 0, model.nodes.get(node)?.period_s ?? 1); }, () => {});
    }
    if (force || now - asked.node >= (tab === 'charts' ? 5000 : 1000) - 200) {
      asked.node = now;
      ask(`/api/v1/nodes/${name}?window=${window}`, signal).then((answer) => {
        if (signal.aborted) return;
        more = answer.node && typeof answer.node === 'object' ? { ...answer.node, ...answer } : answer;
        drawMore(model);
      }, () => {});
    }
  }

  function drawMore(model) {
    const bins = rows(more?.bins);
    for (const { percentile, bin } of boxes) text(bin, binOf(percentile, bins) ?? NONE);
    if (shown.tab === 'bins') drawBins(bins);
    if (shown.tab === 'ledger') drawLedger(model);
  }

  function drawBins(bins) {
    const flow = (name, of) => h('tr', {}, h('th', { scope: 'row' }, name), ...['min', 'median', 'max'].map((which) => h('td', {}, rate(of?.[which]))));
    const throughput = more?.throughput;
    const two = throughput && (throughput.in || throughput.out);
    const body = bins.map((row) => {
      const bar = h('span', { class: 'bar' });
      bar.style.setProperty('width', `${row.percent}%`);
      return h('tr', {}, h('th', { scope: 'row' }, row.label), h('td', { class: 'bars' }, bar), h('td', {}, `${row.percent.toFixed(2)} %`), h('td', {}, `${row.cumulative.toFixed(2)} %`), h('td', {}, count(row.count)));
    });
    pane.replaceChildren(
      h('table', { class: 'bins' }, h('caption', {}, `Percent by Latency Bin, last ${shown.window}`),
        h('thead', {}, h('tr', {}, ...['Bin', '', 'Percent', 'Cumulative', 'Count'].map((name) => (name ? h('th', { scope: 'col' }, name) : h('td'))))), h('tbody', {}, ...body)),
      h('table', { class: 'flow' }, h('caption', {}, `Throughput, last ${shown.window}`),
        h('thead', {}, h('tr', {}, h('td'), ...['Minimum', 'Median', 'Maximum'].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, ...(two ? [flow('in', throughput.in), flow('out', throughput.out)] : [flow('out', throughput)]))));
  }

  function drawLedger(model) {
    const node = { ...model.nodes.get(shown.node), ...more };
    const balance = sums(node.kind, node.ledger).map((one) => {
      const parts = one.parts.flatMap(([name, value], n) => [n ? ' + ' : ' = ', h('b', {}, count(value)), ` ${name}`]);
      return h('p', { class: 'sum', 'data-level': one.rest === 0 ? 'ok' : 'bad' }, h('b', {}, count(one.value)), ` ${one.whole}`, ...parts,
        h('span', { class: 'rest' }, one.rest === 0 ? '✔ balance 0' : `✖ balance ${count(one.rest)}`));
    });
    const edges = [...model.edges.values()].filter((edge) => edge.from === shown.node || edge.to === shown.node).map((edge) => {
      const is = edgeCounts(edge);
      const way = `${model.nodes.has(edge.from) ? edge.from : edge.peer} → ${model.nodes.has(edge.to) ? edge.to : edge.peer}`;
      return h('tr', {}, h('th', { scope: 'row', title: way }, clip(way, 28)), h('td', { class: 'words' }, edge.guarantee ?? NONE), h('td', {}, `${count(is.first[1])} ${is.first[0]}`), h('td', {}, `${count(is.second[1])} ${is.second[0]}`),
        h('td', {}, count(is.underWay)), h('td', { 'data-harm': is.unaccounted > 0 }, count(is.unaccounted)));
    });
    const list = (caption, of, write) => h('div', {}, h('h3', {}, caption), h('dl', { class: 'counters' }, ...of.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, write(value))))));
    const drops = counters(node.drops);
    pane.replaceChildren(
      ...(balance.length ? balance : [h('p', { class: 'muted' }, node.ours ? 'This kind of node keeps no sum of its own; its edges are below.' : 'Nodes of 2016 report no ledger.')]),
      h('table', { class: 'edges' }, h('caption', {}, 'Edges'), h('thead', {}, h('tr', {}, ...['Edge', 'Guarantee', 'Given', 'Answered', 'Open', 'Unacc.'].map((name) => h('th', { scope: 'col' }, name)))), h('tbody', {}, ...edges)),
      node.elsewhere > 0 ? h('p', { class: 'muted' }, `${count(node.elsewhere)} came from clients that do not report to this hub.`) : '',
      list('Drops and refusals by reason', drops.length ? drops : [['none', 0]], count),
      list('Counters', counters(node.ledger), count),
      list('Gauges', Object.entries(node.gauges ?? {}), (value) => (Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(4))))));
  }

  function draw(model, id, view, linked) {
    const node = id === null ? null : model.nodes.get(id);
    place.dataset.empty = node ? 'no' : 'yes';
    if (!node) {
      text(title, id === null ? 'No node yet' : clip(id, 40));
      text(about, id === null ? 'The figures of a node come here.' : 'The hub knows no node of this name.');
      text(state, '');
      return;
    }
    const changed = { node: id !== shown.node, window: view.window !== shown.window, tab: view.tab !== shown.tab };
    shown = { node: id, window: view.window, tab: view.tab };
    if (changed.node || changed.window || !asking) {
      asking?.abort();
      asking = new AbortController();
      if (changed.node) more = null;
    }
    if (changed.tab || changed.node) {
      plots?.end();
      pane.replaceChildren();
      plots = view.tab === 'charts' ? charts(pane) : null;
      attribute(pane, 'aria-labelledby', `tab-${view.tab}`);
      for (const tab of tabs) {
        attribute(tab, 'aria-selected', String(tab.dataset.tab === view.tab));
        attribute(tab, 'tabindex', tab.dataset.tab === view.tab ? 0 : -1);
      }
      drawMore(model);
    }
    text(title, id);
    attribute(title, 'title', id);
    attribute(state, 'data-standing', standing(node, model.health));
    text(state, told(node, model));
    const depth = gauge(node, 'depth');
    text(about, [calling(node), node.address, node.version ? `version ${node.version}` : null, node.uptime_s === null || node.uptime_s === undefined ? null : `up ${age(node.uptime_s)}`,
      node.restarts ? `${count(node.restarts)} restarts` : null, `in ${rate(node.in)}`, `out ${rate(node.out)}`, depth === null ? null : `depth ${count(depth)}`,
      node.share ? `busy ${percent(node.share.busy)}, blocked ${percent(node.share.blocked)}` : null,
      node.state === 'silent' && !node.ours ? 'nodes of 2016 say nothing when idle' : null].filter(Boolean).join(' · '));
    PERCENTILES.forEach(([, name], at) => text(boxes[at].value, latency(node.latency?.[name])));
    attribute(csv, 'href', `/api/v1/series?node=${encodeURIComponent(id)}&window=${view.window}&format=csv`);
    stale ||= changed.node || changed.window || changed.tab;
    // A hub that is away is not asked: its coming back asks for all that was missed.
    if (linked) refresh(model);
  }

  return { draw, rebuild() { plots?.rebuild(); } };
}
