// Light or dark before the first paint: what was chosen here last time, else what the system prefers.
// A plain script, so that it runs before the page is drawn.
(() => {
  const KEY = 'weir-theme';
  let chosen = null;
  try { chosen = localStorage.getItem(KEY); } catch { /* storage is off: the system's choice it is */ }
  const system = matchMedia('(prefers-color-scheme: dark)');
  const listeners = [];
  const theme = () => (chosen === 'light' || chosen === 'dark' ? chosen : system.matches ? 'dark' : 'light');
  const apply = () => {
    document.documentElement.dataset.theme = theme();
    for (const listener of listeners) listener(theme());
  };
  window.weirTheme = {
    now: theme,
    toggle() {
      chosen = theme() === 'dark' ? 'light' : 'dark';
      try { localStorage.setItem(KEY, chosen); } catch { /* kept for this page only */ }
      apply();
    },
    onChange(listener) { listeners.push(listener); },
  };
  system.addEventListener('change', apply);
  apply();
})();
