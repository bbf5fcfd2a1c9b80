// The charts of one node by uPlot, above each other on one time cursor.

import { clock, count, latency, percent, rate, short, when } from './format.js';
import { h, text } from './dom.js';
import { complete, decades, growth, positive, withGaps } from './series.js';
import { WINDOW_SECONDS } from './view.js';

const CURSOR = 'weir';
const NAMES = ['in', 'out', 'p50', 'p75', 'p90', 'p95', 'p99', 'p999', 'depth', 'age', 'busy', 'blocked', 'drops'];

/** What is drawn: `series` are [name in the answer, label, colour variable, writer]; `right` ones have their own scale. */
const CHARTS = [
  { title: 'Throughput', unit: 'messages/s', write: short, series: [['in', 'in', '--c1', short], ['out', 'out', '--c2', short]] },
  { title: 'Latency', optional: true, unit: 'log', write: latency, log: true, series: [['p50', 'p50', '--l1', latency], ['p90', 'p90', '--l2', latency], ['p99', 'p99', '--l3', latency], ['p999', 'p99.9', '--l4', latency]] },
  { title: 'Depth and age', optional: true, unit: 'messages, oldest', write: short, rightWrite: latency, series: [['depth', 'depth', '--c1', count]], right: [['age', 'age', '--c3', latency]] },
  { title: 'Blocked and drops', unit: 'share of time, drops/s', write: percent, rightWrite: short, whole: true, series: [['busy', 'busy', '--c4', percent], ['blocked', 'blocked', '--c3', percent]], right: [['drops', 'drops', '--bad', rate]] },
];

const HEIGHT = 84;
const AXIS = 22; // height of the time axis, under the last chart only
const LEFT = 52; // width of the axes at the sides, equal so that the charts stand in line
const RIGHT = 44;

/** The end of a scale that begins at 0. */
const roof = (high) => (high > 0 ? high * 1.1 : 1);

/** Of the marks of a logarithmic scale the powers of ten; on a long one every other. */
const tens = (plot, ticks) => {
  const every = Math.log10(plot.scales.y.max / plot.scales.y.min) > 4.5 ? 2 : 1;
  const isShown = (power) => Math.abs(power - Math.round(power)) < 1e-6 && Math.round(power) % every === 0;
  return ticks.map((tick) => (isShown(Math.log10(tick)) ? tick : null));
};

/** The four charts in `place`, which must be in the page. */
export function charts(place) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let plots = [];
  let answer = null; // the last series, with the window it is of
  let range = [0, 1];

  function build() {
    for (const { plot } of plots) plot.destroy();
    place.replaceChildren();
    const width = Math.max(240, place.clientWidth);
    plots = CHARTS.map((chart, at) => make(chart, width, at === CHARTS.length - 1));
    if (answer) put();
  }

  function make(chart, width, last) {
    const all = [...chart.series, ...(chart.right ?? [])];
    const figures = all.map(([, label, variable]) => {
      const figure = h('b');
      const dot = h('i');
      dot.style.setProperty('background', `var(${variable})`);
      return { figure, element: h('span', {}, dot, label, ' ', figure) };
    });
    const cursorTime = h('time');
    const frame = h('div', { class: 'plot' });
    const caption = h('figcaption', {}, h('strong', { title: chart.unit }, chart.title), ...figures.map(({ element }) => element), cursorTime);
    place.append(h('figure', {}, caption, frame));
    const ink = colour('--muted');
    const grid = { stroke: colour('--grid'), width: 1 };
    const font = '11px Arial, sans-serif';
    const side = { stroke: ink, grid, ticks: { show: false }, font, size: LEFT, gap: 4, space: 26 };
    const one = ([, label, variable], scale) => ({ label, scale, stroke: colour(variable), width: 1.4, spanGaps: false, points: { show: false } });
    const scales = { x: { time: true, range: () => range },
      y: chart.log ? { distr: 3, range: (_, low, high) => decades(low, high) }
        : { range: (_, __, high) => [0, chart.whole ? 1 : roof(high)] },
      right: { range: (_, __, high) => [0, roof(high)] } };
    const axes = [
      { stroke: ink, grid, ticks: { show: false }, font, size: last ? AXIS : 0, gap: 4, values: last ? (_, ticks) => ticks.map((tick) => (range[1] - range[0] > 4000 ? clock(tick).slice(0, 5) : clock(tick))) : () => [], space: 64 },
      { ...side, scale: 'y', values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : chart.write(tick))), ...(chart.log && { filter: tens, grid: { ...grid, filter: tens } }) },
      { ...side, scale: 'right', side: 1, size: RIGHT, grid: { show: false }, values: chart.right ? (_, ticks) => ticks.map((tick) => chart.rightWrite(tick)) : () => [] },
    ];
    const tell = (plot) => {
      const at = plot.cursor.idx;
      const shown = typeof at === 'number';
      all.forEach(([, , , write], n) => {
        const values = plot.data[n + 1] ?? [];
        text(figures[n].figure, write(shown ? values[at] : values.findLast((value) => typeof value === 'number')));
      });
      text(cursorTime, shown ? when(plot.data[0][at], range[1]) : '');
    };
    const options = { width, height: HEIGHT + (last ? AXIS : 0), padding: [6, 0, last ? 0 : 6, 0], legend: { show: false }, scales, axes,
      series: [{}, ...chart.series.map((line) => one(line, 'y')), ...(chart.right ?? []).map((line) => one(line, 'right'))],
      cursor: { sync: { key: CURSOR, scales: ['x', null] }, drag: { x: false, y: false }, points: { size: 5 }, y: false },
      hooks: { setCursor: [tell], setData: [tell] } };
    const plot = new window.uPlot(options, [[0, 1], ...all.map(() => [null, null])], frame);
    frame.setAttribute('role', 'img');
    return { plot, chart, frame, all };
  }

  function put() {
    range = [answer.to - WINDOW_SECONDS[answer.window], answer.to];
    for (const { plot, chart, frame, all } of plots) {
      const names = all.map(([name]) => name);
      const [t, ...lines] = withGaps(answer.series, names, ...range, answer.period);
      if (answer.series.step === 1 && names[0] === 'in') lines.forEach((line, n) => { lines[n] = complete(line); });
      const dropped = names.indexOf('drops');
      if (dropped >= 0) lines[dropped] = growth(t, lines[dropped]);
      // A node without a queue has no depth, a feeder no latency: their charts would only take room.
      frame.parentElement.hidden = chart.optional === true && lines.every((line) => line.every((value) => typeof value !== 'number'));
      plot.setData([t, ...(chart.log ? lines.map(positive) : lines)]);
      const now = all.map(([, label, , write], n) => `${label} ${write(lines[n].findLast((value) => typeof value === 'number'))}`);
      frame.setAttribute('aria-label', `${chart.title} of the last ${answer.window}; newest: ${now.join(', ')}`);
    }
  }

  const sized = new ResizeObserver(() => {
    for (const { plot, frame } of plots) if (frame.clientWidth > 0 && plot.width !== frame.clientWidth) plot.setSize({ width: frame.clientWidth, height: plot.height });
  });
  sized.observe(place);
  build();
  return {
    names: NAMES,
    /** Draws the answer of `/api/v1/series` about a node that reports every `period` seconds; the time axis ends at `to`. */
    show(series, window, to, period) { answer = { series, window, to, period }; put(); },
    rebuild: build,
    end() { sized.disconnect(); for (const { plot } of plots) plot.destroy(); },
  };
}
