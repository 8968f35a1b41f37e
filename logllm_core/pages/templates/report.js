"use strict";
// The list of windows, where the page has one.
(() => {
  const list = document.getElementById("window-list");
  if (!list) return;
  const search = document.getElementById("search");
  const labelFilter = document.getElementById("label-filter");
  const count = document.getElementById("count");
  const nothing = document.getElementById("nothing");
  const kinds = [...document.querySelectorAll("input[name=kind]")];
  const groups = [...list.querySelectorAll(".group")].map((element) => ({
    element,
    kind: element.dataset.kind,
    windows: [...element.querySelectorAll(".window")].map((details) => ({
      details,
      summary: details.querySelector("summary"),
      labels: [...details.querySelectorAll("summary .label")].map((found) => found.textContent),
      text: null,
    })),
  }));
  const all = groups.flatMap((group) => group.windows);

  // Text is read when it is first searched: there may be fifteen thousand lines.
  const textOf = (entry) => (entry.text ??= entry.details.textContent.toLowerCase());

  const chosenKind = () => kinds.find((input) => input.checked)?.value ?? "";

  function filter() {
    const kind = chosenKind();
    const label = labelFilter?.value ?? "";
    const words = search.value.toLowerCase().trim();
    let numShown = 0;
    for (const group of groups) {
      const isChosen = !kind || group.kind === kind;
      let numOfGroup = 0;
      for (const entry of group.windows) {
        const isShown = isChosen && (!label || entry.labels.includes(label)) &&
          (!words || textOf(entry).includes(words));
        entry.details.hidden = !isShown;
        numOfGroup += isShown;
      }
      // An empty kind still says so while nothing is asked for.
      group.element.hidden = !numOfGroup && !(isChosen && !label && !words);
      numShown += numOfGroup;
    }
    count.textContent = `${numShown.toLocaleString("en")} of ${all.length.toLocaleString("en")} shown`;
    nothing.hidden = numShown > 0 || !all.length;
  }

  function clear() {
    if (kinds.length) kinds[0].checked = true;
    if (labelFilter) labelFilter.value = "";
    search.value = "";
    filter();
  }

  function showKind(name) {
    clear();
    const input = kinds.find((kind) => kind.value === name);
    if (input) input.checked = true;
    filter();
    const group = groups.find((found) => found.kind === name);
    group.element.scrollIntoView();
    group.windows[0]?.summary.focus({ preventScroll: true });
  }

  function showWindow(id) {
    const entry = all.find((found) => found.details.querySelector(".lines").id === id);
    if (!entry) return false;
    if (entry.details.hidden) clear();
    entry.details.open = true;
    entry.details.scrollIntoView();
    entry.summary.focus({ preventScroll: true });
    return true;
  }

  function step(by) {
    const shown = all.filter((entry) => !entry.details.hidden);
    const at = shown.findIndex((entry) => entry.details.contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : at + by;
    const entry = shown[Math.min(Math.max(next, 0), shown.length - 1)];
    entry?.summary.focus();
    entry?.summary.scrollIntoView({ block: "nearest" });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isTyping = event.target.matches("input[type=search], select, textarea");
    const isInList = list.contains(event.target);
    if (event.key === "Escape") {
      if (!search.value && !labelFilter?.value && !chosenKind()) return;
      clear();
    } else if (isTyping) {
      return;
    } else if (event.key === "/") {
      search.focus();
      search.select();
    } else if (event.key === "j" || (event.key === "ArrowDown" && isInList)) {
      step(1);
    } else if (event.key === "k" || (event.key === "ArrowUp" && isInList)) {
      step(-1);
    } else {
      return;
    }
    event.preventDefault();
  }

  // Marks of the timeline and counts of the confusion table lead into the list.
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target.closest("a");
    const target = link?.getAttribute("href") ?? "";
    if (link?.dataset.showKind) showKind(link.dataset.showKind);
    else if (!target.startsWith("#window-") || !showWindow(target.slice(1))) return;
    history.replaceState(null, "", target);
    event.preventDefault();
  });
  document.addEventListener("keydown", onKey);
  kinds.forEach((input) => input.addEventListener("change", filter));
  labelFilter?.addEventListener("change", filter);
  search.addEventListener("input", filter);
  document.getElementById("clear").addEventListener("click", () => { clear(); search.focus(); });

  document.querySelector(".controls").hidden = false;
  clear();
  // After the browser has gone to the anchor itself.
  addEventListener("load", () => {
    if (location.hash.startsWith("#window-")) showWindow(location.hash.slice(1));
  });
})();

// Contents: open where there is room, and marked with the section in view.
(() => {
  const contents = document.querySelector(".contents");
  const wide = matchMedia("(min-width: 78rem)");
  const fit = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  contents.addEventListener("click", (event) => {
    if (event.target.matches("a") && !wide.matches) contents.open = false;
  });
  const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const inView = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inView.add(target.id);
      else inView.delete(target.id);
    }
    const current = [...links.keys()].find((id) => inView.has(id));
    if (!current) return;
    links.forEach((link, id) => {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  }, { rootMargin: "-10% 0px -60% 0px" });
  links.forEach((_, id) => observer.observe(document.getElementById(id)));
})();
