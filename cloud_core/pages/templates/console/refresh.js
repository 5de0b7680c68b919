// Fetches the page again while somebody looks at it and touches nothing; without it nothing is lost.
"use strict";
(() => {
  const main = document.getElementById("main");
  const seconds = Number(main && main.dataset.refresh);
  if (!seconds) return;
  const changed = (field) => field.options
    ? [...field.options].some((option) => option.selected !== option.defaultSelected)
    : field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  const busy = () => {
    const at = document.activeElement;
    const chosen = String(window.getSelection() || "") !== "";
    const begun = [...main.querySelectorAll("input, select, textarea")].some(changed);
    return document.hidden || chosen || begun || (at && main.contains(at) && at !== main);
  };
  const again = async () => {
    if (busy()) return;
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.redirected) { location.reload(); return; } // the session has ended
    if (!answer.ok || busy()) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (fresh) main.replaceChildren(...fresh.childNodes);
    const now = page.querySelector("footer time"), here = document.querySelector("footer time");
    if (now && here) here.textContent = now.textContent;
  };
  setInterval(() => again().catch(() => {}), seconds * 1000);
})();
