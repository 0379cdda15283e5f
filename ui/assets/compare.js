export default function (component) {
  const { data, parentElement } = component;
  const frame = parentElement.querySelector(".frame");
  const find = (name) => frame.querySelector(name);
  const start = String(data.start);
  if (frame.dataset.start !== start) {
    frame.dataset.start = start;
    frame.dataset.at = start;
  }
  frame.style.width = data.width + "px";
  frame.style.aspectRatio = data.ratio;
  frame.classList.toggle("pixels", data.pixels);
  for (const side of ["before", "after"]) {
    const picture = find("." + side);
    if (picture.src !== data[side]) picture.src = data[side];
    picture.alt = data[side + "_label"];
  }
  find(".left").textContent = data.before_label;
  find(".right").textContent = data.after_label;
  const place = (at) => {
    at = Math.min(100, Math.max(0, at));
    frame.dataset.at = at;
    frame.setAttribute("aria-valuenow", Math.round(at));
    find(".clip").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    find(".line").style.left = at + "%";
    find(".left").style.opacity = at < 18 ? 0 : 1;
    find(".right").style.opacity = at > 82 ? 0 : 1;
  };
  place(parseFloat(frame.dataset.at));
  const follow = (event) => {
    const box = frame.getBoundingClientRect();
    place(((event.clientX - box.left) / box.width) * 100);
  };
  frame.onpointerdown = (event) => { frame.setPointerCapture(event.pointerId); follow(event); };
  frame.onpointermove = (event) => { if (frame.hasPointerCapture(event.pointerId)) follow(event); };
  frame.ondblclick = () => place(data.start);
  frame.onkeydown = (event) => {
    const moves = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    place(parseFloat(frame.dataset.at) + moves[event.key]);
  };
}
