// Slides over the whole window. Which one is shown stands in the address, so that reloading stays there.
const KEYS = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Backspace: -1, Home: -Infinity, End: Infinity,
};
const POINTED_MS = 2500;

// Texts come from untrusted traces: they are set as text and never parsed.
function built({ tag, attributes, text, children }) {
  const element = ["svg", "path"].includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  element.append(...children.map(built));
  return element;
}

export default function ({ data, parentElement }) {
  const stage = parentElement.querySelector(".stage"), deck = stage.querySelector(".slides"), stops = new AbortController();
  const listen = (target, name, act) => target.addEventListener(name, act, { signal: stops.signal });
  const address = () => new URL(location.href);
  let timer, at = Number(address().searchParams.get("slide") ?? 1) - 1;
  stage.style.background = data.ground;
  stage.style.color = data.ink;
  const slides = data.slides.map(built);
  deck.replaceChildren(...slides);

  function show(place) {
    at = Math.min(Math.max(Number.isInteger(place) ? place : place > 0 ? slides.length - 1 : 0, 0), slides.length - 1);
    slides.forEach((slide, k) => { slide.hidden = k !== at; });
    stage.querySelector("span").textContent = `${at + 1} / ${slides.length}`;
    stage.dataset.slide = at + 1;
    const url = address();
    url.searchParams.set("slide", at + 1);
    history.replaceState(history.state, "", url);
  }

  function leave() {
    const button = document.querySelector(".st-key-present_end button");
    if (button) button.click();
    else if (!stops.signal.aborted) setTimeout(leave, 100); // Streamlit draws it after the slides
  }

  listen(window, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pressed = event.composedPath()[0];
    if ((event.key === "Enter" || event.key === " ") && pressed.tagName === "BUTTON") return;
    if (event.key === "Escape") leave();
    else if (event.key in KEYS) show(at + KEYS[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  listen(deck, "click", (event) => show(at + (event.clientX < window.innerWidth / 4 ? -1 : 1)));
  for (const button of stage.querySelectorAll("nav button")) listen(button, "click", () => show(at + (button.dataset.to === "next" ? 1 : -1)));
  listen(window, "pointermove", () => {
    const marked = [stage, document.documentElement];
    marked.forEach((element) => element.classList.add("pointed"));
    clearTimeout(timer);
    timer = setTimeout(() => marked.forEach((element) => element.classList.remove("pointed")), POINTED_MS);
  });
  show(Number.isInteger(at) ? at : 0);
  return () => {
    stops.abort();
    clearTimeout(timer);
    document.documentElement.classList.remove("pointed");
  };
}
