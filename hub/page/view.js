// What one looks at, kept in the address of the page: a link shows another person the same view. Pure.

export const WINDOWS = ['5m', '1h', '1d'];
export const WINDOW_SECONDS = { '5m': 300, '1h': 3600, '1d': 86400 };
export const TABS = ['charts', 'bins', 'ledger'];

/** The view that a query string asks for; what it does not name or names wrongly is the default. */
export function parse(query) {
  const given = new URLSearchParams(query);
  const oneOf = (name, allowed) => (allowed.includes(given.get(name)) ? given.get(name) : allowed[0]);
  const sort = /^(-?)([a-z0-9_]+)$/.exec(given.get('sort') ?? '');
  return { node: given.get('node') || null, window: oneOf('window', WINDOWS), tab: oneOf('tab', TABS),
    filter: given.get('filter') ?? '', sort: sort ? sort[2] : 'id', down: sort ? sort[1] === '-' : false };
}

/** The query string of a view, without what is the default. */
export function query(view) {
  const parts = new URLSearchParams();
  if (view.node) parts.set('node', view.node);
  if (view.window !== WINDOWS[0]) parts.set('window', view.window);
  if (view.tab !== TABS[0]) parts.set('tab', view.tab);
  if (view.filter) parts.set('filter', view.filter);
  if (view.sort !== 'id' || view.down) parts.set('sort', (view.down ? '-' : '') + view.sort);
  const all = parts.toString();
  return all ? `?${all}` : '';
}
