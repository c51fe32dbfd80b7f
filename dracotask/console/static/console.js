/* What makes the console live. Everything on a page works without it. */
"use strict";
(() => {
  const kept = { get: (name) => { try { return localStorage.getItem("dracotask-" + name); } catch { return null; } },
    set: (name, value) => { try { localStorage.setItem("dracotask-" + name, value); } catch { /* a private window */ } } };
  const root = document.documentElement, byId = (id) => document.getElementById(id);

  // -- Theme: that of the system, or the other one -----------------------------------------
  const theme = byId("theme");
  if (kept.get("theme")) root.dataset.theme = kept.get("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    kept.set("theme", root.dataset.theme = dark ? "light" : "dark");
  });

  // -- Copy; navigator.clipboard is for https alone ----------------------------------------
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = byId(button.dataset.copy), range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      try { await navigator.clipboard.writeText(source.textContent); } catch { document.execCommand("copy"); }
      button.textContent = "Copied";
    });
  }

  // -- Live: the same page once more, and what is new of it put in place -------------------
  const live = byId("live");
  let etag = null, failures = 0, timer = 0, on = kept.get("live") !== "off";

  const busy = (region) => region.contains(document.activeElement) || region.querySelector("details[open]")
    || (!getSelection().isCollapsed && region.contains(getSelection().anchorNode));

  // True if nothing of it was left out because the reader is busy there.
  function take(page) {
    let whole = true;
    for (const fresh of page.querySelectorAll("[data-live][id]")) {
      const old = byId(fresh.id);
      if (!old || old.innerHTML === fresh.innerHTML) continue;
      if (busy(old)) whole = false;
      else old.replaceChildren(...fresh.childNodes);
    }
    const output = byId("output"), fresh = page.getElementById("output");
    if (output && fresh && output.dataset.from !== fresh.dataset.from) { // a further attempt has begun
      Object.assign(output.dataset, fresh.dataset);
      output.replaceChildren(...fresh.childNodes);
    }
    document.title = page.title;
    const icon = "link[rel=icon]", href = page.querySelector(icon)?.href;
    if (href && document.querySelector(icon).href !== href) document.querySelector(icon).href = href;
    if (page.body.dataset.poll !== undefined) document.body.dataset.poll = page.body.dataset.poll;
    return whole;
  }

  async function look() {
    const answer = await fetch(location.href, { cache: "no-cache", credentials: "same-origin", redirect: "error" });
    if (answer.status === 403) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const tag = answer.headers.get("ETag");
    if (tag !== etag && take(new DOMParser().parseFromString(await answer.text(), "text/html"))) etag = tag;
  }

  async function turn() {
    clearTimeout(timer);
    const every = Number(document.body.dataset.poll || 0);
    if (!on || !every) return;
    if (!document.hidden) {
      try { await look(); failures = 0; } catch { failures++; }
      document.body.classList.toggle("stale", failures > 2);
    }
    timer = setTimeout(turn, 1000 * every * Math.min(2 ** failures, 16));
  }

  if (document.body.dataset.poll > 0) {
    live.hidden = false;
    const show = () => { live.setAttribute("aria-pressed", on); };
    live.addEventListener("click", () => { on = !on; kept.set("live", on ? "on" : "off"); show(); turn(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) turn(); });
    show();
    timer = setTimeout(turn, 1000 * document.body.dataset.poll);
  }

  // -- Output: what was printed since the last look -----------------------------------------
  const output = byId("output");
  if (output && "goesOn" in output.dataset) {
    const atEnd = () => output.scrollTop + output.clientHeight >= output.scrollHeight - 8;
    let wait = 1000;
    output.scrollTop = output.scrollHeight;
    const tail = async () => {
      try {
        const { after, style, from } = output.dataset, place = new URL(from, location.href);
        place.searchParams.set("after", after);
        place.searchParams.set("style", style);
        const answer = await fetch(place, { cache: "no-store", credentials: "same-origin", redirect: "error" });
        if (!answer.ok) throw new Error(answer.status);
        const news = await answer.json(), stick = atEnd(), [done, open] = output.children;
        if (from === output.dataset.from) {
          done.insertAdjacentHTML("beforeend", news.html);
          open.innerHTML = news.open;
          Object.assign(output.dataset, { after: news.after, style: news.style });
        }
        if (stick) output.scrollTop = output.scrollHeight;
        wait = news.state === "running" ? 1000 : 5000;
        if (!news.goes_on) { byId("tailing").textContent = ""; return void turn(); }
      } catch { wait = Math.min(2 * wait, 30000); }
      setTimeout(tail, document.hidden ? 5000 : wait);
    };
    setTimeout(tail, wait);
  }
})();
