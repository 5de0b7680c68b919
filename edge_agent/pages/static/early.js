/* Runs before anything else of the page: keys of a scan that comes while the rest still loads. */
(() => {
  const keys = [];
  const keep = (event) => {
    keys.push({ key: event.key, code: event.keyCode, ctrl: event.ctrlKey, meta: event.metaKey });
    if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) event.preventDefault();
  };
  document.addEventListener("keydown", keep, true);
  window.early = () => {
    document.removeEventListener("keydown", keep, true);
    return keys;
  };
})();
