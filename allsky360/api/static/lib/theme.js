// Runs before the page is painted, so that it never flashes in other colours.
(function () {
  let theme = null;
  try { theme = localStorage.getItem("theme"); } catch { /* storage is switched off: the default holds */ }
  if (["dark", "light", "red"].includes(theme)) document.documentElement.dataset.theme = theme;
})();
