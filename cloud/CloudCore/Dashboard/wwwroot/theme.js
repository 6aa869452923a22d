// Before the first paint: the colours chosen earlier, else the system's.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("edge-theme"); } catch { /* storage is off: the system's colours then */ }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
