"use strict";
// Asks for the page again and exchanges what changed in it. What is being
// selected stays; a page that nobody looks at does not ask.
(() => {
  const EVERY_MS = 2000;
  const live = document.getElementById("live");
  const say = (text, bad) => {
    if (live.textContent !== text) live.textContent = text;
    live.classList.toggle("bad", bad);
    live.hidden = false;
  };
  const exchange = (fresh) => {
    document.title = fresh.title;
    for (const id of ["summary", "moment"]) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      if (now && old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
    }
    for (const now of fresh.querySelectorAll("[data-part]")) {
      const old = document.getElementById(now.id);
      if (old && old.outerHTML !== now.outerHTML) old.replaceWith(now);
    }
  };
  const ask = async () => {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    exchange(new DOMParser().parseFromString(text, "text/html"));
  };
  let answered = new Date();
  const turn = async () => {
    const began = performance.now();
    if (!document.hidden && getSelection().isCollapsed) {
      try {
        await ask();
        answered = new Date();
        say("live", false);
      } catch (error) {
        say(`No answer since ${answered.toLocaleTimeString()} (${error.message}). What is shown may be over.`, true);
      }
    }
    setTimeout(turn, Math.max(EVERY_MS, 10 * (performance.now() - began)));
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) say("asking ...", false); });
  say("live", false);
  setTimeout(turn, EVERY_MS);
})();
