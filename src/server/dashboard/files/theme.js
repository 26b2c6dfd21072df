// Sets the chosen colours before the first paint.
(() => {
  try {
    const theme = localStorage.getItem("altlas.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden: then the system's colours stay.
  }
})();
